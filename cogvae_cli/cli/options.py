"""The options that commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cogvae_cli.model.config import TileLayout

Dtype = Literal["float32", "bfloat16", "float16"]

_MODEL, _TERMINAL, _TILES = "Model", "Terminal", "Tiles"
_OTHER = "The other program's file"

_MODEL_HELP = (
    "tiny (built in), cogvideox-2b, cogvideox-5b, cogvideox-5b-i2v, cogvideox1.5-5b, cogvideox1.5-5b-i2v, a Hub id, "
    "a folder or a .safetensors file."
)

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        envvar="COGVAE_MODEL",
        metavar="NAME|PATH",
        rich_help_panel=_MODEL,
        help=f"{_MODEL_HELP} Default: cogvideox-2b.",
    ),
]

ModelOfLatents = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|PATH",
        rich_help_panel=_MODEL,
        help="The model that made the latents. Default: the one that the file names; needed if that was a local path.",
    ),
]

Revision = Annotated[
    str | None,
    typer.Option(
        "--revision",
        metavar="COMMIT",
        rich_help_panel=_MODEL,
        help="Commit, tag or branch on the Hub. The named models are pinned to a commit.",
    ),
]

ComputeDtype = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype",
        rich_help_panel=_MODEL,
        help="Number format to compute in. Default: float32; for decoding on TPU and GPU bfloat16.",
    ),
]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", "-y", help="Replace outputs that are there already, once the new ones are whole.")
]

AsJson = Annotated[
    bool, typer.Option("--json", rich_help_panel=_TERMINAL, help="Print one JSON object with every figure.")
]

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=_TERMINAL, help="No progress and no notices on stderr.")
]

Debug = Annotated[
    bool,
    typer.Option("--debug", envvar="COGVAE_DEBUG", rich_help_panel=_TERMINAL, help="Show the traceback of an error."),
]

LatentsOut = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The latents file: .npz, .safetensors, or - for stdout.",
        show_default=False,
    ),
]

VideoOut = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The video, say out.mp4; a .gif, out%04d.png, a folder, or - for stdout.",
        show_default=False,
    ),
]

Tile = Annotated[
    str,
    typer.Option(
        "--tile",
        metavar="off|WxH",
        rich_help_panel=_TILES,
        help="Compute big frames in tiles of that size in pixels, which takes less memory.",
    ),
]

TileOverlap = Annotated[
    str | None,
    typer.Option(
        "--tile-overlap",
        metavar="WxH",
        rich_help_panel=_TILES,
        help="How far neighbours overlap. Default: 1/5 of the width and 1/6 of the height.",
    ),
]

TileLayoutName = Annotated[
    TileLayout | None,
    typer.Option(
        "--tile-layout",
        rich_help_panel=_TILES,
        help="uniform (default): equal tiles, smooth weights. reference: the grid and blending of diffusers.",
    ),
]

Program = Annotated[
    Literal["cogvideo", "finetrainers", "cogvideox-factory", "diffusers"] | None,
    typer.Option("--format", rich_help_panel=_OTHER, help="The program that stores a .pt like this."),
]

Layout = Annotated[
    str | None,
    typer.Option("--layout", metavar="AXES", rich_help_panel=_OTHER, help="Its axes, say BCTHW, TCHW or THWC."),
]

ArrayName = Annotated[
    str | None,
    typer.Option("--array", metavar="NAME", rich_help_panel=_OTHER, help="Which of its arrays holds the latents."),
]

IsScaled = Annotated[
    bool | None,
    typer.Option(
        "--scaled/--unscaled", rich_help_panel=_OTHER, help="Whether its values are times the scaling factor."
    ),
]

Rate = Annotated[
    str | None,
    typer.Option(
        "--rate", metavar="FPS", rich_help_panel=_OTHER, help="Its frame rate. Default: 8; 16 for CogVideoX 1.5."
    ),
]

OfMoments = Annotated[
    Literal["mean", "sample"] | None,
    typer.Option("--posterior", help="What to take of moments. Default: mean for decoding; convert keeps them."),
]

Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Of a sample's noise. Default: 0.")]
