"""What a still picture says before it is decoded: its size, and which way up it is. By Pillow, which reads headers.

Everything else about pictures is PyAV's, as for video: the same colours, limits and checks of damage. Pillow is here
because FFmpeg decodes a picture to learn its size, which is too late for a bomb, and because PyAV 18 shows no EXIF.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from cogvae_cli.errors import VideoError
from cogvae_cli.io.orientation import UPRIGHT, Orientation

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""Of the pictures that are looked for in a folder."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_PATTERN = re.compile(r"((?:[^%]|%%)*)%(?:0([1-9]))?d((?:[^%]|%%)*)", re.DOTALL)
_JPEG_START, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_BLOCK = 1 << 20
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Orientation(mirror_columns=True),
    3: Orientation(mirror_rows=True, mirror_columns=True),
    4: Orientation(mirror_rows=True),
    5: Orientation(transpose=True),
    6: Orientation(transpose=True, mirror_columns=True),
    7: Orientation(transpose=True, mirror_rows=True, mirror_columns=True),
    8: Orientation(transpose=True, mirror_rows=True),
}


@dataclass(frozen=True)
class PictureFacts:
    """Of a picture's header. Width and height are those that are stored."""

    width: int
    height: int
    orientation: Orientation
    frames: int
    """Of TIFF: 2 for more than one."""
    is_jpeg: bool
    is_misread: bool
    """FFmpeg makes a wrong picture of it without a word: TIFF that holds JPEG, or luma and chroma."""


def picture_facts(path: Path) -> PictureFacts | None:
    """Facts about a picture; None where Pillow doesn't know the file for one. Raises VideoError for a bomb."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata; the size of a bomb is for the caller to judge
        try:
            with Image.open(path, formats=_FORMATS) as image:
                turn = image.getexif().get(_ORIENTATION_TAG, 1)
                is_tiff, is_jpeg = image.format == "TIFF", image.format == "JPEG"
                is_misread = is_tiff and (image.mode == "YCbCr" or "jpeg" in image.info.get("compression", ""))
                frames = getattr(image, "n_frames", 1) if image.format == "WEBP" else 1
                size = image.size
                if is_tiff and _has_more(image):
                    frames = 2
                return PictureFacts(*size, _TURNS.get(turn, UPRIGHT), frames, is_jpeg, is_misread)
        except Image.DecompressionBombError as error:
            raise VideoError("it is a picture of far more pixels than any limit allows") from error
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
            return None  # whatever is wrong with it, decoding finds it and says it


def _has_more(image: Image.Image) -> bool:
    """Whether another picture follows the first one of a TIFF."""
    try:
        image.seek(1)
    except Exception:  # noqa: BLE001 - Pillow raises what it likes, and what is wrong there is no matter of the first
        return False
    return True


def breaks_off(path: Path) -> bool:
    """Whether a JPEG lacks the marker that ends it, which decoders make up grey pixels for without a word.

    Segments are stepped over by their lengths: a thumbnail in one of them has an end of its own.
    """
    with path.open("rb") as file:
        if file.read(2) != _JPEG_START:
            return False
        while (marker := file.read(2)) and marker != _JPEG_SCAN:
            length = int.from_bytes(file.read(2), "big")
            if marker[:1] != b"\xff" or length < 2:
                return False  # what decoding makes of it is for the decoder to say
            file.seek(length - 2, os.SEEK_CUR)
        before = b""
        while block := file.read(_BLOCK):
            if _JPEG_END in before + block:
                return False
            before = block[-1:]
    return True


def numbered_files(pattern: Path) -> list[tuple[int, Path]]:
    """Files that a name with %d or %04d stands for, by number; empty for a name that is no such pattern."""
    match = _PATTERN.fullmatch(pattern.name)
    if not match or not pattern.parent.is_dir():
        return []
    before, width, after = match[1].replace("%%", "%"), int(match[2] or 1), match[3].replace("%%", "%")
    wanted = re.compile(re.escape(before) + r"([0-9]+)" + re.escape(after), re.DOTALL)
    found = {}
    for path in pattern.parent.iterdir():
        number = wanted.fullmatch(path.name)
        if number and number[1] == f"{int(number[1]):0{width}d}" and path.is_file():
            found[int(number[1])] = path
    return sorted(found.items())


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order: a2.png before a10.png. Hidden files are left out."""
    names = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted((path for path in names if path.is_file()), key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", path.name)
    key = [(1, int(part), part) if part.isdecimal() else (0, 0, part.casefold()) for part in parts]
    return [*key, (0, 0, path.name)]


def is_pattern(path: Path) -> bool:
    """Whether a name stands for numbered files, as frame%04d.png does, and no file has that very name."""
    return _PATTERN.fullmatch(path.name) is not None and not path.exists()


def pattern_name(pattern: str, number: int) -> str:
    """The name of one of the numbered files."""
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        raise ValueError(f"{pattern!r} has no %d")
    return f"{match[1].replace('%%', '%')}{number:0{int(match[2] or 1)}d}{match[3].replace('%%', '%')}"
