"""`cogvae roundtrip`: encode, decode, measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli import video_options as video
from cogvae_cli.cli.quality_text import quality_rows
from cogvae_cli.cli.terminal import (
    TerminalProgress,
    bytes_text,
    print_dry_run,
    print_json,
    print_lines,
    speed_text,
    table,
)
from cogvae_cli.pipeline.options import parse_size
from cogvae_cli.pipeline.results import tile_text
from cogvae_cli.pipeline.video_options import MAX_PIXELS, ReadOptions, VideoOptions

if TYPE_CHECKING:
    from cogvae_cli.pipeline.roundtrip_result import RoundtripResult


def roundtrip(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="[VIDEO]", help="The video file. Default: the built-in clip.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Keep the decoded video, say back.mp4.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Write a page, STEM.report.html, and its figures, STEM.report.json, here.")
    ] = False,
    report_out: options.ReportOut = None,
    min_psnr: options.MinPsnr = None,
    min_ssim: options.MinSsim = None,
    min_vmaf: options.MinVmaf = None,
    model: options.Model = None,
    revision: options.Revision = None,
    dtype: options.ComputeDtype = None,
    devices: options.Devices = "1",
    tile: options.Tile = "auto",
    tile_overlap: options.TileOverlap = None,
    tile_layout: options.TileLayoutName = None,
    fps: video.Fps = None,
    start: video.Start = None,
    duration: video.Duration = None,
    frames: video.Frames = None,
    stream: video.Stream = None,
    on_error: video.OnError = "fail",
    max_pixels: video.MaxPixels = MAX_PIXELS,
    size: video.Size = None,
    fit: video.Fit = "cover",
    no_autorotate: video.NoAutorotate = False,
    colorspace: video.Colorspace = None,
    alpha: video.Alpha = "black",
    hdr: video.Hdr = "refuse",
    deinterlace: video.Deinterlace = False,
    codec: video.Codec = None,
    crf: video.Crf = None,
    preset: video.Preset = None,
    pix_fmt: video.PixFmt = None,
    audio: video.Audio = None,
    container: video.Container = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Encode a video, decode the latents, and measure what came back.

    Without a video: the built-in clip and the built-in model. PSNR and SSIM compare the frames that the encoder
    received with those that the decoder gave, before any codec.

    Examples:

      cogvae roundtrip

      cogvae roundtrip clip.mp4 --model cogvideox-2b -o back.mp4

      cogvae roundtrip clip.mp4 --report

      cogvae roundtrip clip.mp4 --json --report-out quality.json

      cogvae roundtrip clip.mp4 --min-psnr 30 --min-vmaf 80
    """
    from cogvae_cli.pipeline.gates import Gates, check_passed
    from cogvae_cli.pipeline.options import TileOptions, parse_devices
    from cogvae_cli.pipeline.roundtrip import report_path, roundtrip_file
    from cogvae_cli.pipeline.roundtrip_options import RoundtripOptions

    if report and report_out is None:
        report_out = report_path(source)
    scaled_to = None if size is None else parse_size(size)
    plain = ReadOptions(fps, start, duration, frames, stream, not no_autorotate, colorspace, alpha, hdr, deinterlace)
    reading = replace(plain, max_pixels=max_pixels, on_error=on_error, size=scaled_to, fit=fit)
    chosen = RoundtripOptions(
        revision=revision,
        dtype=dtype,
        tiles=TileOptions(tile, tile_overlap, tile_layout),
        devices=parse_devices(devices),
        output=output,
        report=report_out,
        gates=Gates(min_psnr, min_ssim, min_vmaf),
        reading=reading,
        video=VideoOptions(crf, pix_fmt, codec, preset, container, audio),
        overwrite=overwrite,
    )
    progress = TerminalProgress(quiet=quiet)
    if dry_run:
        from cogvae_cli.pipeline.dry_run import plan_roundtrip

        print_dry_run(plan_roundtrip(source, model=model, options=chosen, progress=progress), as_json=as_json)
        return
    result = roundtrip_file(source, model=model, options=chosen, progress=progress)
    if as_json:
        print_json(result.as_dict())
    else:
        print_lines(_lines(result, verbose))
    video.fail_on_damage(result.source, result.damage, result.quality.frames)
    check_passed(result.verdicts)


def _lines(result: RoundtripResult, verbose: bool) -> list[str]:
    quality, tiles = result.quality, tile_text(result.tiles)
    time, height, width, channels = result.latents_shape
    rows = [
        ("video", f"{result.source.name}, {quality.frames} frames of {result.width}x{result.height}"),
        ("model", f"{result.model.name}, {result.encode_dtype} -> {result.decode_dtype} on {result.device}{tiles}"),
        ("latents", f"{time} frames of {width}x{height}, {channels} channels"),
        *quality_rows(result),
        ("speed", speed_text(result.frames_per_second, result.compile_seconds)),
    ]
    if verbose:
        rows.extend(_more(result))
    rows.extend((name, str(path)) for name, path in (("kept", result.output), ("report", result.report)) if path)
    return table(rows)


def _more(result: RoundtripResult) -> Iterator[tuple[str, str]]:
    """What `-v` tells besides."""
    sizes, memory, stages = result.cost["sizes"], result.cost["memory"], result.cost["stages"]
    yield "identity", result.model.identity
    yield (
        "plain",
        f"{bytes_text(sizes['plain_rgb_bytes'])} as 8-bit RGB, {bytes_text(sizes['source_bytes'])} in the file",
    )
    latents = bytes_text(sizes["latents_bfloat16_bytes"])
    yield "stored", f"{latents} as bfloat16 latents, 1/{sizes['bytes_ratio']:.4g} of plain"
    taken = sorted(stages.items(), key=lambda item: -item[1])
    for index, (name, seconds) in enumerate(taken):
        yield "" if index else "time", f"{seconds:8.2f} s  {name.replace('_', ' ')}"
    device = memory["device_peak_bytes"]
    on_device = "" if device is None else f", {bytes_text(device)} on the device"
    yield "memory", f"{bytes_text(memory['process_peak_bytes'])} at most{on_device}"
