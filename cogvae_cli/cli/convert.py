"""`cogvae convert`: latents from one kind of file to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli.terminal import TerminalProgress, bytes_text, print_dry_run, print_json, print_lines, table

if TYPE_CHECKING:
    from cogvae_cli.pipeline.convert import ConvertResult

_OTHER = "The other program's file"


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
    program: options.Program = None,
    layout: options.Layout = None,
    array: options.ArrayName = None,
    scaled: options.IsScaled = None,
    rate: options.Rate = None,
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
    posterior: options.OfMoments = None,
    seed: options.Seed = None,
    dtype: Annotated[
        options.Dtype | None,
        typer.Option("--dtype", help="Number format of the new file. Default: that of the old one."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take the model, though its scaling factor is another.")
    ] = False,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
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
    progress = TerminalProgress(quiet=quiet)
    if dry_run:
        from cogvae_cli.pipeline.dry_run import plan_convert

        print_dry_run(plan_convert(source, output, model=model, options=chosen, progress=progress), as_json=as_json)
        return
    result = convert_file(source, output, model=model, options=chosen, progress=progress)
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
