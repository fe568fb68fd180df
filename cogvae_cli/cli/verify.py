"""`cogvae verify`: layer by layer against diffusers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli.terminal import TerminalProgress, print_json, print_lines, table
from cogvae_cli.model.config import DEFAULT_MODEL
from cogvae_cli.pipeline.results import tile_text

if TYPE_CHECKING:
    from cogvae_cli.pipeline.verify_result import Comparison, VerifyResult

_HEADINGS = ("layer", "tile/chunk", "shape [B T H W C]", "largest error", "mean error", "relative", "cosine", "")


def verify(
    model: options.Model = None,
    revision: options.Revision = None,
    dtype: Annotated[
        options.Dtype, typer.Option(help="Number format that ours computes in; the reference is float32 always.")
    ] = "float32",
    frames: Annotated[int, typer.Option(min=1, metavar="N", help="Frames compared; 17 make two chunks.")] = 17,
    tile: Annotated[
        str, typer.Option(metavar="off|WxH", help="Compute both in tiles of that size, on the grid of diffusers.")
    ] = "off",
    size: Annotated[str, typer.Option(metavar="WxH", help="Size of the frames, multiples of 8.")] = "64x48",
    tolerance: Annotated[
        float, typer.Option(min=0, metavar="T", help="Largest relative error of a layer, and end to end.")
    ] = 1e-5,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="A line for every chunk, not for the worst.")
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Compare every layer with diffusers' CogVideoX VAE.

    Both get the same weights and the same frames of the built-in clip. Needs torch and diffusers:
    pip install 'torch' 'diffusers'. Leaves with 0 if all is within the tolerance, else with 5.

    Examples:

      cogvae verify --model tiny

      cogvae verify --model ./my-model/vae --size 96x64 --json

      cogvae verify --model tiny --size 104x80 --tile 40x48

      cogvae verify --model cogvideox-2b --dtype bfloat16 --tolerance 0.1
    """
    from cogvae_cli.pipeline.options import TileOptions, parse_size
    from cogvae_cli.pipeline.verify import VerifyOptions, verify_model

    width, height = parse_size(size)
    chosen = VerifyOptions(
        revision=revision,
        dtype=dtype,
        tiles=TileOptions(tile, layout=None if tile == "off" else "reference"),
        frames=frames,
        width=width,
        height=height,
        tolerance=tolerance,
    )
    result = verify_model(model or DEFAULT_MODEL, options=chosen, progress=TerminalProgress(quiet=quiet))
    if as_json:
        print_json(result.as_dict())
    else:
        print_lines(_lines(result, verbose))
    result.check()


def _lines(result: VerifyResult, verbose: bool) -> Iterator[str]:
    from cogvae_cli.pipeline.verify_result import DEFINITIONS

    rows = [*(result.layers if verbose else result.worst()), *result.ends]
    yield from _columns([_HEADINGS, *(_cells(row, result.tolerance) for row in rows)])
    yield ""
    if not verbose:
        yield "chunk: the one with the largest relative error"
    exact = ["relative_to_float64"] if any(row.relative_to_float64 is not None for row in rows) else []
    yield from (f"{name.replace('_', ' ')}: {DEFINITIONS[name]}" for name in ("relative", "scale", *exact))
    yield ""
    tiles = tile_text(result.tiles)
    over, count = result.first_over, len({row.name for row in result.layers})
    yield from table(
        [
            ("input", f"{result.frames} frames of {result.width}x{result.height} of the built-in clip{tiles}"),
            ("model", f"{result.model.name}, {result.encode_dtype} -> {result.decode_dtype} on {result.device}"),
            ("against", ", ".join(f"{name} {release}" for name, release in result.versions.items())),
            ("layers", f"{count}, largest relative error {_figure(max(row.relative for row in result.layers))}"),
            ("verdict", f"within {result.tolerance:.0e}" if over is None else f"first over: {over.name}"),
        ]
    )


def _cells(row: Comparison, tolerance: float) -> tuple[str, ...]:
    return (
        row.name,
        "all" if row.chunk is None else str(row.chunk) if row.tile is None else f"{row.tile}/{row.chunk}",
        "x".join(map(str, row.shape)),
        _figure(row.max_abs),
        _figure(row.mean_abs),
        _figure(row.relative),
        f"{row.cosine:.9f}",
        "; ".join(_remarks(row, tolerance)),
    )


def _remarks(row: Comparison, tolerance: float) -> Iterator[str]:
    if not row.within(tolerance):
        yield "OVER"
    if row.relative_to_float64 is not None:
        yield f"{_figure(row.relative_to_float64)} from the reference in float64"
    if row.note:
        yield row.note


def _figure(value: float) -> str:
    return f"{value:.1e}"


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
