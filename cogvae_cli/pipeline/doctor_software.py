"""What is installed: versions against those that are needed, codecs of PyAV, filters of ffmpeg."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata

from cogvae_cli.pipeline.doctor import Check

NEEDED = {
    "jax": "0.10",
    "flax": "0.12",
    "numpy": None,
    "av": "17",
    "imageio": "2.37",
    "imageio-ffmpeg": None,
    "safetensors": "0.6",
    "huggingface_hub": "2.4",
    "tqdm": "4.66",
    "typer": "0.20",
    "jaxtyping": "0.3",
    "jinja2": "3.1",
    "dm-pix": "0.4.4",
}
"""Oldest versions that do, as pyproject.toml names them."""

_OLDEST_PYTHON = (3, 11)


def versions() -> Iterator[Check]:
    """Python and the packages that cogvae stands on."""
    from cogvae_cli import __version__

    yield Check("cogvae", "ok", __version__)
    if sys.version_info < _OLDEST_PYTHON:
        yield Check("python", "fault", platform.python_version(), "use Python 3.11 or newer")
    else:
        yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name, oldest in NEEDED.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, "fault", "not installed", f"pip install '{name}{f'>={oldest}' if oldest else ''}'")
            continue
        if oldest is not None and _numbers(version) < _numbers(oldest):
            cure = f"pip install '{name}>={oldest}'"
            yield Check(name, "fault", f"{version} is too old: {oldest} or newer is needed", cure)
        else:
            yield Check(name, "ok", version)
    yield _jaxlib()


def _jaxlib() -> Check:
    """jax refuses a jaxlib that is newer than itself."""
    try:
        library, jax = metadata.version("jaxlib"), metadata.version("jax")
    except metadata.PackageNotFoundError:
        return Check("jaxlib", "fault", "not installed", "pip install --upgrade jax")
    if _numbers(library) > _numbers(jax):
        return Check("jaxlib", "fault", f"{library} is newer than jax {jax}", "pip install --upgrade jax jaxlib")
    return Check("jaxlib", "ok", library)


def codecs() -> Iterator[Check]:
    """Encoders that videos are written by, and decoders that this PyAV has or lacks."""
    import av

    from cogvae_cli.io.codecs import CODECS

    encoders = {codec.encoder for codec in CODECS.values()}
    missing = sorted(name for name in encoders if not _has(name, "w"))
    decoders = ("h264", "hevc", "vp9", "libdav1d", "mpeg4", "mjpeg", "prores", "ffv1", "gif", "png")
    blind = sorted(name for name in decoders if not _has(name, "r"))
    if missing or blind:
        lacks = [f"no encoder {name}" for name in missing] + [f"no decoder {name}" for name in blind]
        cure = "install PyAV's own wheel: pip install --force-reinstall --only-binary av av"
        yield Check("codecs", "fault", f"PyAV {av.__version__} has {', '.join(lacks)}", cure)
    else:
        yield Check("codecs", "ok", f"PyAV {av.__version__} writes {', '.join(sorted(CODECS))}")


def _has(name: str, mode: str) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        Codec(name, "w" if mode == "w" else "r")
    except UnknownCodecError:
        return False
    return True


def ffmpeg() -> Iterator[Check]:
    """The ffmpeg that measures VMAF and XPSNR."""
    from cogvae_cli.io.perceptual import support

    can = support()
    if can.reason is not None:
        cure = "pip install --force-reinstall imageio-ffmpeg, or let IMAGEIO_FFMPEG_EXE name an ffmpeg with libvmaf"
        yield Check("ffmpeg", "fault", f"{can.reason}: reports lack it", cure)
    else:
        yield Check("ffmpeg", "ok", f"{can.version} with libvmaf and xpsnr")


def _numbers(version: str) -> tuple[int, ...]:
    """`0.10.2.dev1` to (0, 10, 2)."""
    parts = []
    for part in version.split("."):
        digits = re.match(r"\d+", part)
        if digits is None:
            break
        parts.append(int(digits[0]))
        if digits[0] != part:
            break
    return tuple(parts)
