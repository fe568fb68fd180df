"""Telling from a file's first bytes what it is, where it isn't what was expected."""

from __future__ import annotations

LONGEST = 512
"""Bytes that kind_of looks at."""

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git-lfs pointer: the file itself was not fetched (git lfs pull)"),
    (b"PK\3\4", "a zip archive, as PyTorch's pickles and npz files are"),
    (b"\x80\2", "a Python pickle"),
    (b"\x80\4", "a Python pickle"),
    (b"\x80\5", "a Python pickle"),
    (b"\x93NUMPY", "a .npy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"GGUF", "a GGUF file"),
    (b"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
    (b"RIFF", "a RIFF file, as AVI and WebP are"),
)


def kind_of(head: bytes) -> str | None:
    """What a file that starts like this is, in words; None where nothing is recognised."""
    if not head:
        return "empty"
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[4:8] == b"ftyp":
        return "a video (MP4 or MOV)"
    text = head[:LONGEST].lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "a web page (HTML), so the download went wrong"
    return None
