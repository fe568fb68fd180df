"""`cogvae convert`: latents from one kind of file to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli.terminal import TerminalProgress, bytes_text, print_json, print_lines, table

if TYPE_CHECKING:
    from cogvae_cli.pipeline.convert import ConvertResult

_OTHER = "The other program's file"

Program = Literal["cogvideo", "finetrainers", "cogvideox-factory", "diffusers"]


def convert(
    source: Annotated[Path, typer.Argument(metavar="LATENTS", help="The file to convert.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The new file: .npz, .safetensors, .pt or .npy.",
            show_default=False,
        ),
    ],
    program: Annotated[
        Program | None,
        typer.Option("--format", rich_help_panel=_OTHER, help="The program that stores a .pt like this."),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--layout", metavar="AXES", rich_help_panel=_OTHER, help="Its axes, say BCTHW, TCHW or THWC."),
    ] = None,
    array: Annotated[
        str | None,
        typer.Option("--array", metavar="NAME", rich_help_panel=_OTHER, help="Which of its arrays holds the latents."),
    ] = None,
    scaled: Annotated[
        bool | None,
        typer.Option(
            "--scaled/--unscaled", rich_help_panel=_OTHER, help="Whether its values are times the scaling factor."
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate", metavar="FPS", rich_help_panel=_OTHER, help="Its frame rate. Default: 8; 16 for CogVideoX 1.5."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|PATH",
            rich_help_panel=_OTHER,
            help="The family that its latents are of, which gives the scaling factor.",
        ),
    ] = None,
    revision: options.Revision = None,
    posterior: Annotated[
        Literal["mean", "sample"] | None,
        typer.Option("--posterior", help="What to make of moments. Default: keep them."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Of the sample's noise. Default: 0.")
    ] = None,
    dtype: Annotated[
        options.Dtype | None,
        typer.Option("--dtype", help="Number format of the new file. Default: that of the old one."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take the model, though its scaling factor is another.")
    ] = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Convert latents between cogvae's files and those of other programs.

    One side is a latents file of cogvae; --format, --layout, --array, --scaled and --rate describe the other one.

    Examples:

      cogvae convert encoded.pt -o clip.npz --format cogvideo --model cogvideox-2b

      cogvae convert clip.npz -o clip.pt --format finetrainers

      cogvae convert latents.npy -o clip.npz --layout TCHW --scaled --model cogvideox-5b

      cogvae convert moments.npz -o sample.npz --posterior sample --seed 7
    """
    from cogvae_cli.pipeline.convert import convert_file
    from cogvae_cli.pipeline.convert_plan import ConvertOptions
    from cogvae_cli.pipeline.importing import ImportOptions

    chosen = ConvertOptions(
        foreign=ImportOptions(program, layout, array, scaled, rate),
        revision=revision,
        posterior=posterior,
        seed=seed,
        dtype=dtype,
        force=force,
        overwrite=overwrite,
    )
    result = convert_file(source, output, model=model, options=chosen, progress=TerminalProgress(quiet=quiet))
    if as_json:
        print_json(result.as_dict())
    else:
        print_lines(_lines(result))


def _lines(result: ConvertResult) -> list[str]:
    time, height, width, channels = result.latents_shape
    scaled = f", times {result.scaling_factor}" if result.scaled else ""
    seed = "" if result.seed is None else f" with seed {result.seed}"
    rows = [
        ("latents", f"{time} frames of {width}x{height}, {channels} channels, {result.dtype}{scaled}"),
        ("posterior", f"{result.posterior}{seed}"),
        ("model", result.model.name),
        ("file", f"{result.output}, {result.output_kind}, {bytes_text(result.output_bytes)}"),
    ]
    return table(rows)
