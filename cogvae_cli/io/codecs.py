"""The codecs and containers that video is written in: what each can hold, and the options of its encoder."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cogvae_cli.errors import UsageError
from cogvae_cli.io.standard_streams import STANDARD

MUXERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm", "gif": "gif"}
"""FFmpeg's name of each container of video, by the suffix."""
PICTURES = "png"
"""What single pictures, numbered pictures and folders of them are written as."""
FORMATS = (*MUXERS, PICTURES)
STREAMED = ("mp4", "mkv", "webm")
"""Containers that can be written to a pipe."""

_YUV = ("yuv420p", "yuv422p", "yuv444p")
_DEEP = ("yuv420p10le", "yuv422p10le", "yuv444p10le")
_X26X = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
_WITHOUT_AVX512 = "asm=avx2"
"""x264's AVX-512 code reads past the end of the rows that it plans by, where the width is no multiple of 128: the same
frames gave other bytes each time. Its code for AVX2 gives those of its plain C."""
_MACROBLOCK = 16
_PRORES = ("proxy", "lt", "standard", "hq", "4444", "4444xq")


@dataclass(frozen=True)
class Codec:
    """One codec. `crf` is (least, most, default): less is better; None where there is no such number."""

    title: str
    encoder: str
    containers: tuple[str, ...]
    pix_fmts: tuple[str, ...]
    """The first is the default for even sizes."""
    odd_pix_fmt: str
    """The default for an odd width or height."""
    crf: tuple[int, int, int] | None = None
    presets: tuple[str, ...] = ()
    least_side: int = 1
    most_side: int = 16_384
    needs_even: bool = True
    """Whether 4:2:0 takes even sizes only."""
    options: Mapping[str, str] = field(default_factory=dict)


CODECS = {
    "h264": Codec("H.264", "libx264", ("mp4", "mov", "mkv"), (*_YUV, *_DEEP), "yuv444p", (0, 51, 18), _X26X),
    "hevc": Codec(
        "HEVC",
        "libx265",
        ("mp4", "mov", "mkv"),
        (*_YUV, *_DEEP),
        "yuv444p",
        (0, 51, 20),
        _X26X,
        least_side=16,
        options={"x265-params": "log-level=none"},
    ),
    "av1": Codec(
        "AV1",
        "libsvtav1",
        ("mp4", "mkv", "webm"),
        ("yuv420p", "yuv420p10le"),
        "yuv420p",
        (1, 63, 25),
        tuple(map(str, range(14))),
        least_side=4,
        needs_even=False,
    ),
    "vp9": Codec(
        "VP9",
        "libvpx-vp9",
        ("webm", "mkv", "mp4"),
        _YUV,
        "yuv420p",
        (0, 63, 24),
        tuple(map(str, range(5))),  # from 5 on libvpx 1.16 fails on 4:4:4 at a low crf
        needs_even=False,
        options={"b": "0", "row-mt": "1"},
    ),
    "ffv1": Codec("FFV1", "ffv1", ("mkv",), ("bgr0", *_YUV, *_DEEP), "bgr0", needs_even=False),
    "prores": Codec(
        "ProRes",
        "prores_ks",
        ("mov", "mkv"),
        ("yuv422p10le", "yuv444p10le"),
        "yuv444p10le",
        presets=_PRORES,
        needs_even=False,
        options={"vendor": "apl0"},
    ),
}
_DEFAULTS = {"mp4": "h264", "mov": "h264", "mkv": "h264", "webm": "vp9"}


def container_of(output: Path, chosen: str | None = None) -> str:
    """The container of an output: what was chosen, or what its suffix asks for; `png` for a folder that is there.

    Raises UsageError for one that isn't written here, and for a choice that contradicts the suffix.
    """
    suffix = output.suffix.lower().removeprefix(".")
    if output == STANDARD:
        chosen = chosen or "mp4"
        if chosen not in STREAMED:
            raise UsageError(f"{chosen} can't be written to standard output", f"choose {listed(STREAMED)}")
        return chosen
    if output.is_dir():
        suffix = PICTURES
    if chosen is None:
        if suffix not in FORMATS:
            held = f"{'.' + suffix if suffix else 'a file without a suffix'}"
            raise UsageError(
                f"{output}: a video can't be written as {held}", f"name the output {listed(['.' + f for f in FORMATS])}"
            )
        return suffix
    if chosen not in FORMATS:
        raise UsageError(f"a video can't be written as {chosen}", f"choose {listed(FORMATS)}")
    if suffix in FORMATS and suffix != chosen:
        raise UsageError(f"{output} is named .{suffix}, but {chosen} was asked for", "leave one of them out")
    return chosen


def codec_of(name: str | None, container: str) -> Codec | None:
    """The codec of that name, or the container's own; None for GIF and pictures, which have none to choose.

    Raises UsageError where the container can't hold it.
    """
    if container not in _DEFAULTS:
        if name is not None:
            raise UsageError(f"{container} has no codec to choose", "leave out --codec")
        return None
    if name is not None and name not in CODECS:
        raise UsageError(f"{name!r} is no codec that is written", f"choose {listed(list(CODECS))}")
    codec = CODECS[name or _DEFAULTS[container]]
    if container not in codec.containers:
        fits = listed(["." + suffix for suffix in codec.containers])
        raise UsageError(f".{container} can't hold {codec.title}", f"name the output {fits}, or choose another --codec")
    return codec


def encoder_options(codec: Codec, crf: int | None, preset: str | None, pix_fmt: str) -> dict[str, str]:
    """What the encoder is told. Raises UsageError for a crf or preset that the codec doesn't have."""
    options = dict(codec.options)
    if codec.crf is not None:
        least, most, default = codec.crf
        if crf is not None and not least <= crf <= most:
            raise UsageError(f"a crf of {crf} is outside {least} to {most}, those of {codec.title}")
        options["crf"] = str(default if crf is None else crf)
    elif crf is not None:
        raise UsageError(f"{codec.title} has no crf", "leave out --crf")
    if preset is not None and preset not in codec.presets:
        hint = f"choose {listed(codec.presets)}" if codec.presets else "leave out --preset"
        raise UsageError(f"{codec.title} has no preset {preset!r}", hint)
    return options | _preset_options(codec, preset, pix_fmt)


def _preset_options(codec: Codec, preset: str | None, pix_fmt: str) -> dict[str, str]:
    if codec.encoder == "libvpx-vp9":
        return {"deadline": "good", "cpu-used": preset or "2"}
    if codec.encoder == "libsvtav1":
        return {"preset": preset or "8"}
    if codec.encoder == "prores_ks":
        is_444 = "444" in pix_fmt
        if preset is not None and preset.startswith("4444") != is_444:
            raise UsageError(f"ProRes {preset} doesn't go with {pix_fmt}", "its 4444 presets need yuv444p10le")
        return {"profile": preset or ("4444" if is_444 else "hq")}
    return {} if preset is None else {"preset": preset}


def repeatable(codec: Codec, width: int, height: int, pix_fmt: str) -> dict[str, str]:
    """Options without which an encoder writes other bytes each time."""
    if codec.encoder != "libx264":
        return {}
    options = {"x264-params": _WITHOUT_AVX512} if _has_avx512() else {}
    if pix_fmt in _DEEP and (width % _MACROBLOCK or height % _MACROBLOCK):
        options["threads"] = "1"  # of more, one reads a picture's border before another has drawn it
    return options


@functools.cache
def _has_avx512() -> bool:
    try:
        return " avx512f " in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False


def listed(names: tuple[str, ...] | list[str]) -> str:
    """`a, b or c`."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
