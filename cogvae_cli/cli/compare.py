"""`cogvae compare`: two videos, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli import video_options as video
from cogvae_cli.cli.quality_text import quality_rows
from cogvae_cli.cli.terminal import TerminalProgress, print_json, print_lines, table
from cogvae_cli.pipeline.options import parse_size
from cogvae_cli.pipeline.video_options import MAX_PIXELS, ReadOptions

if TYPE_CHECKING:
    from cogvae_cli.pipeline.compare_result import CompareResult


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="ORIGINAL", help="The video that is taken for right.", show_default=False)
    ],
    second: Annotated[Path, typer.Argument(metavar="OTHER", help="The one that is measured.", show_default=False)],
    report: Annotated[
        bool, typer.Option("--report", help="Write a page, ORIGINAL-OTHER.report.html, and its figures, .json, here.")
    ] = False,
    report_out: options.ReportOut = None,
    min_psnr: options.MinPsnr = None,
    min_ssim: options.MinSsim = None,
    min_vmaf: options.MinVmaf = None,
    fps: video.Fps = None,
    start: video.Start = None,
    duration: video.Duration = None,
    frames: video.Frames = None,
    max_pixels: video.MaxPixels = MAX_PIXELS,
    size: video.Size = None,
    fit: video.Fit = "cover",
    no_autorotate: video.NoAutorotate = False,
    colorspace: video.Colorspace = None,
    alpha: video.Alpha = "black",
    hdr: video.Hdr = "refuse",
    deinterlace: video.Deinterlace = False,
    overwrite: options.Overwrite = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Measure a video against another one of the same size and as many frames.

    Frames are compared by their order, as 8-bit RGB. What is read, and how, goes for both videos.

    Examples:

      cogvae compare clip.mp4 back.mp4

      cogvae compare clip.mp4 back.mp4 --report

      cogvae compare clip.mp4 other.mkv --frames 49 --size 720x480 --json

      cogvae compare clip.mp4 back.mp4 --min-psnr 30 --min-vmaf 80
    """
    from cogvae_cli.pipeline.compare import CompareOptions, compare_files, report_path
    from cogvae_cli.pipeline.gates import Gates, check_passed

    if report and report_out is None:
        report_out = report_path(first, second)
    reading = ReadOptions(
        fps=fps,
        start=start,
        duration=duration,
        frames=frames,
        autorotate=not no_autorotate,
        colorspace=colorspace,
        alpha=alpha,
        hdr=hdr,
        deinterlace=deinterlace,
        max_pixels=max_pixels,
        size=None if size is None else parse_size(size),
        fit=fit,
    )
    chosen = CompareOptions(report_out, Gates(min_psnr, min_ssim, min_vmaf), reading, overwrite)
    result = compare_files(first, second, options=chosen, progress=TerminalProgress(quiet=quiet))
    if as_json:
        print_json(result.as_dict())
    else:
        print_lines(_lines(result))
    check_passed(result.verdicts)


def _lines(result: CompareResult) -> list[str]:
    rows = [
        ("videos", f"{result.first.name}, {result.second.name}"),
        ("frames", f"{result.quality.frames} of {result.width}x{result.height}"),
        *quality_rows(result),
    ]
    if result.report is not None:
        rows.append(("report", str(result.report)))
    return table(rows)
