"""`cogvae roundtrip`: encode, decode, measure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli import video_options as video
from cogvae_cli.cli.terminal import TerminalProgress, print_json, print_lines, speed_text, table
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
        bool, typer.Option("--report", help="Write the figures of every frame to STEM.report.json here.")
    ] = False,
    report_out: Annotated[
        Path | None, typer.Option("--report-out", metavar="FILE", help="Write the report to this .json file.")
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    dtype: options.ComputeDtype = None,
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
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
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
    """
    from cogvae_cli.pipeline.options import TileOptions
    from cogvae_cli.pipeline.roundtrip import RoundtripOptions, report_path, roundtrip_file

    if report and report_out is None:
        report_out = report_path(source)
    reading = ReadOptions(
        fps=fps,
        start=start,
        duration=duration,
        frames=frames,
        stream=stream,
        autorotate=not no_autorotate,
        colorspace=colorspace,
        alpha=alpha,
        hdr=hdr,
        deinterlace=deinterlace,
        max_pixels=max_pixels,
        on_error=on_error,
        size=None if size is None else parse_size(size),
        fit=fit,
    )
    chosen = RoundtripOptions(
        revision=revision,
        dtype=dtype,
        tiles=TileOptions(tile, tile_overlap, tile_layout),
        output=output,
        report=report_out,
        reading=reading,
        video=VideoOptions(crf, pix_fmt, codec, preset, container, audio),
        overwrite=overwrite,
    )
    result = roundtrip_file(source, model=model, options=chosen, progress=TerminalProgress(quiet=quiet))
    if as_json:
        print_json(result.as_dict())
    else:
        print_lines(_lines(result))
    video.fail_on_damage(result.source, result.damage, result.quality.frames)


def _lines(result: RoundtripResult) -> list[str]:
    quality, tiles = result.quality, tile_text(result.tiles)
    time, height, width, channels = result.latents_shape
    rows = [
        ("video", f"{result.source.name}, {quality.frames} frames of {result.width}x{result.height}"),
        ("model", f"{result.model.name}, {result.encode_dtype} -> {result.decode_dtype} on {result.device}{tiles}"),
        ("latents", f"{time} frames of {width}x{height}, {channels} channels"),
        ("PSNR", _psnr(quality.psnr_mean, "mean of the frames' PSNR") if not quality.identical else "identical"),
    ]
    if not quality.identical:
        rows.append(("", _psnr(quality.psnr_of_mean_mse, "PSNR of the mean squared error")))
    ssim = "none: the frames are smaller than its window" if quality.ssim_mean is None else f"{quality.ssim_mean:.4f}"
    rows.append(("SSIM", ssim))
    rows.append(("speed", speed_text(result.frames_per_second, result.compile_seconds)))
    rows.extend((name, str(path)) for name, path in (("kept", result.output), ("report", result.report)) if path)
    return table(rows)


def _psnr(value: float | None, what: str) -> str:
    return f"{value:.2f} dB ({what})"
