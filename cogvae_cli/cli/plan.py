"""`cogvae plan`: what a clip will take, before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli.terminal import TerminalProgress, bytes_text, print_json, print_lines, table
from cogvae_cli.model.config import DEFAULT_MODEL

if TYPE_CHECKING:
    from cogvae_cli.pipeline.plan import ClipPlan, DirectionPlan

_DEVICE = "Device"


def plan(
    source: Annotated[
        Path | None, typer.Argument(metavar="[VIDEO]", help="The video to plan for.", show_default=False)
    ] = None,
    size: Annotated[str | None, typer.Option("--size", metavar="WxH", help="Of frames, without a video.")] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, help="How many, without a video.")] = 49,
    model: options.Model = None,
    dtype: options.ComputeDtype = None,
    tile: options.Tile = "auto",
    tile_overlap: options.TileOverlap = None,
    tile_layout: options.TileLayoutName = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="TPU", rich_help_panel=_DEVICE, help="Plan for a v4, v5e, v5p or v6e chip."),
    ] = None,
    topology: Annotated[
        str | None,
        typer.Option(
            "--topology",
            metavar="TPU:AxB",
            rich_help_panel=_DEVICE,
            help="Compile ahead of time for one chip of that topology, say v5e:2x2; no TPU is needed, libtpu is.",
        ),
    ] = None,
    utilisation: Annotated[
        float,
        typer.Option(
            "--utilisation", rich_help_panel=_DEVICE, help="Share of the chip's peak to reckon the time with."
        ),
    ] = 0.4,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Tell what a clip will take: chunks, tiles, memory, work and time. Nothing is computed.

    Examples:

      cogvae plan clip.mp4 --model tiny

      cogvae plan --size 1360x768 --frames 81 --device v6e

      cogvae plan --size 720x480 --topology v5e:2x2 --dtype bfloat16 --json
    """
    from cogvae_cli.pipeline.options import TileOptions, parse_size
    from cogvae_cli.pipeline.plan import PlanOptions, plan_clip

    chosen = PlanOptions(
        model=model or DEFAULT_MODEL,
        dtype=dtype,
        tiles=TileOptions(tile, tile_overlap, tile_layout),
        topology=topology,
        device=device,
        utilisation=utilisation,
    )
    result = plan_clip(
        source,
        size=None if size is None else parse_size(size),
        frames=frames,
        options=chosen,
        progress=TerminalProgress(quiet=quiet),
    )
    if as_json:
        print_json(result.as_dict())
    else:
        print_lines(_lines(result))


def _lines(plan: ClipPlan) -> list[str]:
    time, height, width, channels = plan.latents_shape
    padded = f", padded by {plan.padded_frames}" if plan.padded_frames else ""
    rows = [
        ("clip", f"{plan.frames} frames of {plan.width}x{plan.height}{padded}"),
        (
            "latents",
            f"{time} frames of {width}x{height}, {channels} channels, {bytes_text(plan.latents_bytes)} float32",
        ),
        ("device", f"{plan.device}, {bytes_text(plan.device_memory)}"),
    ]
    for one in plan.directions:
        rows += _direction(one, plan.utilisation)
    return table(rows)


def _direction(plan: DirectionPlan, utilisation: float) -> list[tuple[str, str]]:
    tiles = "whole frames"
    if plan.tiles is not None:
        columns, rows, width, height = plan.tiles
        tiles = f"{columns}x{rows} tiles of {width}x{height}"
    chunks = f"{plan.chunks[0]}" + (f" + {len(plan.chunks) - 1} x {plan.chunks[1]}" if len(plan.chunks) > 1 else "")
    need = plan.need
    parts = ", ".join(
        f"{name} {bytes_text(value)}"
        for name, value in (("weights", need.weights), ("caches", need.caches), ("work", need.work))
    )
    lines = [
        (plan.direction, f"{plan.dtype}, {tiles}, chunks of {chunks}"),
        ("  memory", f"about {bytes_text(plan.memory)}: {parts}"),
    ]
    time = "" if plan.seconds is None else f", {plan.seconds:.2f} s at {utilisation:.0%} of the chip's peak"
    lines.append(("  work", f"{plan.tflop:.1f} TFLOP{time}"))
    for name, figures in zip(("first", "later"), plan.compiled, strict=False):
        told = f"{bytes_text(figures.total)}, of which {bytes_text(figures.temp)} work memory; moves "
        told += f"{bytes_text(round(figures.traffic))}, {figures.flops / 1e12:.1f} TFLOP"
        lines.append((f"  {name}", f"{told}; compiled in {figures.compile_seconds:.0f} s"))
    return lines
