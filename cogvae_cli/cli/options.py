"""The options that commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cogvae_cli.model.config import BUILT_IN, PRESETS, TileLayout

Dtype = Literal["float32", "bfloat16", "float16"]

_MODEL, _TERMINAL, _TILES = "Model", "Terminal", "Tiles"
_OTHER = "The other program's file"
_QUALITY = "Quality"

_MODEL_HELP = (
    "tiny (built in), cogvideox-2b, cogvideox-5b, cogvideox-5b-i2v, cogvideox1.5-5b, cogvideox1.5-5b-i2v, a Hub id, "
    "a folder or a .safetensors file."
)


def _complete_model(incomplete: str) -> list[str]:
    """Names of models, for a shell that completes them."""
    return [name for name in (BUILT_IN, *PRESETS) if name.startswith(incomplete)]


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        envvar="COGVAE_MODEL",
        autocompletion=_complete_model,
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
        autocompletion=_complete_model,
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

Devices = Annotated[
    str,
    typer.Option(
        "--devices",
        metavar="N|all",
        rich_help_panel=_MODEL,
        help="Chips of this host that compute each frame together, as many as divide its latents; with "
        "--batch-size, clips are shared out among them.",
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

Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", rich_help_panel=_TERMINAL, help="Tell more: time by stage, memory, sizes, identities."
    ),
]

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check all that can be checked, say what would be done, and write nothing.")
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
        metavar="auto|off|WxH",
        rich_help_panel=_TILES,
        help="auto: whole frames if they fit the device's memory, else the fewest tiles that do. Or never, or tiles of "
        "that size in pixels.",
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

ReportOut = Annotated[
    Path | None,
    typer.Option("--report-out", metavar="FILE", help="Write the report to X.html and X.json, or only to X.json."),
]

MinPsnr = Annotated[
    float | None,
    typer.Option(
        "--min-psnr", metavar="DB", rich_help_panel=_QUALITY, help="End with 5 if the mean PSNR over frames is lower."
    ),
]

MinSsim = Annotated[
    float | None,
    typer.Option(
        "--min-ssim", min=-1, max=1, rich_help_panel=_QUALITY, help="End with 5 if the mean SSIM over frames is lower."
    ),
]

MinVmaf = Annotated[
    float | None,
    typer.Option(
        "--min-vmaf", min=0, max=100, rich_help_panel=_QUALITY, help="End with 5 if the mean VMAF over frames is lower."
    ),
]
