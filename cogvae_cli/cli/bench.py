"""`cogvae bench`: how fast this machine encodes and decodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli.terminal import TerminalProgress, bytes_text, print_json, print_lines, table
from cogvae_cli.model.config import DEFAULT_MODEL
from cogvae_cli.pipeline.results import tile_text

if TYPE_CHECKING:
    from cogvae_cli.pipeline.bench import BenchResult

_VIDEO_RATE = 24
"""Frames a second of a video that plays in real time."""


def bench(
    model: options.Model = None,
    revision: options.Revision = None,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Of the frames.")] = "480x272",
    frames: Annotated[int, typer.Option("--frames", min=1, help="Of the clip, 8k+1.")] = 17,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Timed runs; the fastest counts.")] = 3,
    dtype: options.ComputeDtype = None,
    devices: options.Devices = "1",
    tile: options.Tile = "auto",
    tile_overlap: options.TileOverlap = None,
    tile_layout: options.TileLayoutName = None,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FOLDER", help="Write a JAX trace there, for TensorBoard or Perfetto."),
    ] = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Time encoding and decoding on this machine, on frames of noise; nothing is read or written.

    Examples:

      cogvae bench --model tiny

      cogvae bench --size 720x480 --frames 49 --dtype bfloat16 --json

      cogvae bench --model tiny --size 64x48 --runs 1 --profile trace
    """
    from cogvae_cli.pipeline.bench import BenchOptions
    from cogvae_cli.pipeline.bench import bench as run
    from cogvae_cli.pipeline.options import TileOptions, parse_devices, parse_size

    width, height = parse_size(size)
    chosen = BenchOptions(
        revision=revision,
        dtype=dtype,
        tiles=TileOptions(tile, tile_overlap, tile_layout),
        devices=parse_devices(devices),
        width=width,
        height=height,
        frames=frames,
        runs=runs,
        profile=profile,
    )
    result = run(model or DEFAULT_MODEL, options=chosen, progress=TerminalProgress(quiet=quiet))
    if as_json:
        print_json(result.as_dict())
    else:
        print_lines(_lines(result))


def _lines(result: BenchResult) -> list[str]:
    clip = f"{result.frames} frames of {result.width}x{result.height}{tile_text(result.tiles)}"
    rows = [("model", result.model), ("device", result.device), ("clip", clip)]
    for one in result.directions:
        speed = f"{one.frames_per_second:.2f} frames/s, {one.frames_per_second / _VIDEO_RATE:.2f} of real time"
        start = f"first start {one.first_start_seconds:.1f} s, of which {one.compile_seconds:.1f} s compiling"
        rows.append((one.direction, f"{one.dtype}, {speed}; {start}"))
        rows.append(("  memory", f"{bytes_text(one.compiled_bytes)} on the device, by the compiler's word"))
    return table([*rows, ("host", f"{bytes_text(result.peak_host_bytes)} at most")])
