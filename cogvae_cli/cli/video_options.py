"""The options about video that commands share: which part is read and how, and how a video is written."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import typer

from cogvae_cli.errors import CogvaeError, UsageError
from cogvae_cli.pipeline.video_options import CONTAINERS, parse_rate, parse_seconds

_READING, _PICTURE, _VIDEO = "Which frames are read", "How frames are read", "The video that is written"

PROGRAMS = ("cogvideo", "finetrainers", "cogvideox-factory", "diffusers")

Fps = Annotated[
    Fraction | None,
    typer.Option(
        "--fps",
        metavar="RATE",
        parser=parse_rate,
        rich_help_panel=_READING,
        help="Resample by time to that rate: 8, 29.97, 30000/1001. Of pictures, which have no times, it is the rate.",
    ),
]

Start = Annotated[
    Fraction | None,
    typer.Option(
        "--start",
        metavar="TIME",
        parser=parse_seconds,
        rich_help_panel=_READING,
        help="Begin at that time: 12.5 or 1:02.5.",
    ),
]

Duration = Annotated[
    Fraction | None,
    typer.Option("--duration", metavar="TIME", parser=parse_seconds, rich_help_panel=_READING, help="Read that long."),
]

Frames = Annotated[int | None, typer.Option("--frames", min=1, rich_help_panel=_READING, help="Take at most so many.")]

Windows = Annotated[
    str,
    typer.Option(
        "--window",
        metavar="WHICH",
        rich_help_panel=_READING,
        help="Which --frames of a longer video: first, center; with --out-dir also all, every window of so many, or "
        "every:K, one every K frames.",
    ),
]

Stream = Annotated[
    int | None,
    typer.Option("--stream", min=0, rich_help_panel=_READING, help="Number of the video stream, as notices give it."),
]

OnError = Annotated[
    Literal["fail", "keep"],
    typer.Option(
        "--on-error",
        rich_help_panel=_READING,
        help="Of a damaged video. keep: take the good frames before the damage, mark the latents, and end with 1.",
    ),
]

MaxPixels = Annotated[
    int,
    typer.Option("--max-pixels", min=1, rich_help_panel=_READING, help="Refuse larger frames before decoding any."),
]

Size = Annotated[
    str | None,
    typer.Option("--size", metavar="WxH", rich_help_panel=_PICTURE, help="Scale frames to that size: 720x480."),
]

Fit = Annotated[
    Literal["cover", "contain", "stretch"],
    typer.Option("--fit", rich_help_panel=_PICTURE, help="To get there. cover crops, contain pads with black."),
]

Buckets = Annotated[
    str | None,
    typer.Option(
        "--buckets",
        metavar="WxH,WxH,…",
        rich_help_panel=_PICTURE,
        help="Scale frames to that of these sizes whose shape is nearest, as --fit says.",
    ),
]

NoAutorotate = Annotated[
    bool, typer.Option("--no-autorotate", rich_help_panel=_PICTURE, help="Take frames as they are stored.")
]

Colorspace = Annotated[
    Literal["bt601", "bt709", "bt2020"] | None,
    typer.Option("--colorspace", rich_help_panel=_PICTURE, help="The colour matrix, whatever the file says."),
]

Alpha = Annotated[
    Literal["black", "white", "drop"],
    typer.Option("--alpha", rich_help_panel=_PICTURE, help="What is behind transparent pixels."),
]

Hdr = Annotated[
    Literal["refuse", "tonemap"], typer.Option("--hdr", rich_help_panel=_PICTURE, help="What is done with PQ and HLG.")
]

Deinterlace = Annotated[
    bool, typer.Option("--deinterlace", rich_help_panel=_PICTURE, help="Make whole frames of fields, by bwdif.")
]

Codec = Annotated[
    Literal["h264", "hevc", "av1", "vp9", "ffv1", "prores"] | None,
    typer.Option("--codec", rich_help_panel=_VIDEO, help="ffv1 is lossless. Default: h264; in WebM vp9."),
]

Crf = Annotated[
    int | None,
    typer.Option(
        "--crf", min=0, max=63, rich_help_panel=_VIDEO, help="Quality: less is better. Default: 18 for H.264."
    ),
]

Preset = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", rich_help_panel=_VIDEO, help="The encoder's speed, or ProRes' profile."),
]

PixFmt = Annotated[
    str | None,
    typer.Option(
        "--pix-fmt",
        metavar="FORMAT",
        rich_help_panel=_VIDEO,
        help="Pixel format. Default for H.264: yuv420p; yuv444p for an odd width or height.",
    ),
]

Audio = Annotated[
    Path | None,
    typer.Option("--audio", metavar="FILE", rich_help_panel=_VIDEO, help="Copy the sound of that file, as it is."),
]

Container = Annotated[
    Literal["mp4", "mov", "mkv", "webm", "gif", "png"] | None,
    typer.Option("--format", rich_help_panel=_VIDEO, help="For an output without a suffix."),
]

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help=f"The video's container, for an output without a suffix or -: {', '.join(CONTAINERS)}. "
        f"Or the program that stores a .pt like this: {', '.join(PROGRAMS)}. Can be given once for each.",
    ),
]

LatentsFormat = Annotated[
    Literal["npz", "safetensors", "cogvideo", "finetrainers", "cogvideox-factory", "diffusers"] | None,
    typer.Option(
        "--format",
        help="The latents' container, for an output without a suffix or -; with --out-dir also .pt as a program stores "
        "them. Default: npz.",
    ),
]


def split_format(name: str | None) -> tuple[Literal["npz", "safetensors"] | None, str | None]:
    """The container of latents, or the program in whose form they are stored."""
    match name:
        case "npz" | "safetensors":
            return name, None
    return None, name


def split_formats(names: Sequence[str] | None) -> tuple[str | None, str | None]:
    """The program that made the latents and the container of the video, of what --format was given."""
    programs = [name for name in names or () if name in PROGRAMS]
    containers = [name for name in names or () if name in CONTAINERS]
    if len(programs) + len(containers) < len(names or ()):
        wrong = next(name for name in names or () if name not in (*PROGRAMS, *CONTAINERS))
        raise UsageError(f"{wrong!r} is no format", f"choose of {', '.join((*CONTAINERS, *PROGRAMS))}")
    if len(programs) > 1 or len(containers) > 1:
        raise UsageError(f"--format is given more than once: {', '.join(names or ())}", "leave all but one out")
    return (programs[0] if programs else None), (containers[0] if containers else None)


def refuse_json_on_stdout(output: Path, as_json: bool) -> None:
    """Standard output can't hold the result and what is told about it."""
    if as_json and str(output) == "-":
        raise UsageError("--json and -o - both write to standard output", "name a file, or leave out --json")


def fail_on_damage(source: Path, damage: str | None, frames: int) -> None:
    """Ends the command with 1 where a part of the source couldn't be read, once its result was told."""
    if damage is not None:
        raise CogvaeError(
            f"{source}: {damage}; only the {frames} good frames before that were taken", "--on-error fail refuses it"
        )
