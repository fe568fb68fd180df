"""Which clips a batch is made of: files, folders, patterns, lists and tables, given out one after the other.

Nothing is gathered, so that ten million clips take no more memory than ten; only a folder's names are, 65,536 at a
time, to give them out in order.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cogvae_cli.errors import InputError, UsageError
from cogvae_cli.io.clip_tables import LISTS, TABLES, read_list, read_table
from cogvae_cli.io.remote import is_url, list_url

VIDEOS = (
    *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2v", ".ts", ".m2ts", ".mts", ".vob"),
    *(".wmv", ".asf", ".flv", ".ogv", ".ogg", ".3gp", ".3g2", ".mxf", ".ivf", ".nut", ".y4m", ".h264", ".264"),
    *(".h265", ".265", ".hevc", ".obu", ".dv", ".mjpeg", ".rm", ".gif", ".apng"),
)
"""Suffixes of what is taken for a clip in a folder."""

LATENTS = (".npz", ".safetensors")
FOREIGN_LATENTS = (".pt", ".pth", ".npy")

_RUN = 65_536  # names of a folder that are sorted at a time


@dataclass(frozen=True)
class Listed:
    """One clip of a batch."""

    source: str
    """Where it is: an absolute path, or a URL."""
    relative: str
    """Its place in the input tree, which the outputs mirror: `a/b.mp4`."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """The other columns of its row in a table."""
    mirrored: bool | None = None
    """Whether its mirror image is meant, or itself; None where nothing says it."""


@dataclass(frozen=True)
class ListOptions:
    """How inputs are understood."""

    suffixes: Sequence[str]
    """Of the files that are taken from a folder."""
    kind: str
    """The job: `encode` or `decode`."""
    recursive: bool = False
    root: str | None = None
    """What relative paths of a list or a table start from, and what the outputs mirror; None: the list's own folder."""
    path_column: str | None = None
    skip: Path | None = None
    """A folder that isn't looked into: that of the outputs."""


def list_clips(inputs: Sequence[str], options: ListOptions) -> Iterator[Listed]:
    """All clips that the inputs stand for. Raises InputError and UsageError for an input that stands for none."""
    for text in inputs:
        found = False
        for clip in _clips_of(text, options):
            found = True
            yield clip
        if not found:
            raise InputError(f"{text}: holds no clip", _hint(text, options))


def _hint(text: str, options: ListOptions) -> str:
    if not Path(text).is_dir():
        return "give files, folders, patterns or lists that name some"
    deeper = "" if options.recursive else "; --recursive looks into the folders below it"
    return f"of a folder, files are taken that end in {', '.join(options.suffixes[:4])} and the like{deeper}"


def _clips_of(text: str, options: ListOptions) -> Iterator[Listed]:
    path = Path(text)
    if text == "-":
        raise UsageError("- is no part of a batch", "name files; or encode it alone, with -o")
    if is_url(text):
        return (Listed(url, place) for url, place in list_url(text, options.suffixes, recursive=options.recursive))
    if path.is_dir():
        root = os.path.abspath(text)  # noqa: PTH100 - Path.absolute keeps "..", and links must not be followed
        return _walk(root, "", options, frozenset())
    if path.exists() or path.is_symlink():
        return _of_file(path, options)
    if glob.has_magic(text):
        return _of_pattern(text)
    raise InputError(f"{text}: no such file or folder")


def _of_file(path: Path, options: ListOptions) -> Iterator[Listed]:
    suffix = path.suffix.lower()
    if suffix in LISTS:
        return (_placed(text, path, options) for text in read_list(path))
    if suffix in TABLES:
        return _of_table(path, options)
    return iter([Listed(str(path.absolute()), path.name)])


def _of_table(path: Path, options: ListOptions) -> Iterator[Listed]:
    for row in read_table(path, options.path_column, options.kind):
        if row.relative is not None:
            yield Listed(row.path, row.relative, row.columns, row.mirrored)
        else:
            yield _placed(row.path, path, options, row.columns)


def _placed(text: str, listed_in: Path, options: ListOptions, columns: Mapping[str, Any] | None = None) -> Listed:
    """A path of a list: found from the root, and mirrored below it."""
    if is_url(text):
        return _placed_url(text, listed_in, options, columns)
    root = os.path.abspath(options.root or listed_in.parent)  # noqa: PTH100 - as above
    source = os.path.normpath(os.path.join(root, text))  # noqa: PTH118 - an absolute text replaces the root
    relative = os.path.relpath(source, root)
    if relative == ".." or relative.startswith("../"):
        raise UsageError(
            f"{listed_in}: {text} is not below {root}, so it has no place among the outputs",
            "name the folder that all paths are below with --root",
        )
    return Listed(source, relative, columns or {})


def _placed_url(text: str, listed_in: Path, options: ListOptions, columns: Mapping[str, Any] | None) -> Listed:
    """Mirrored below the root, if that is a URL too, else by its name alone."""
    root = None if options.root is None else f"{str(options.root).rstrip('/')}/"
    if root is None or not is_url(root):
        return Listed(text, text.rsplit("/", 1)[-1], columns or {})
    if not text.startswith(root) or ".." in text.split("/"):
        raise UsageError(f"{listed_in}: {text} is not below {root}", "name what all are below with --root")
    return Listed(text, text.removeprefix(root), columns or {})


def _of_pattern(pattern: str) -> Iterator[Listed]:
    """Outputs mirror what is below the part of the pattern that is plain."""
    parts = Path(pattern).parts
    plain = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    root = os.path.abspath(Path(*plain) if plain else ".")  # noqa: PTH100 - as above
    for name in glob.iglob(pattern, recursive=True):  # noqa: PTH207 - Path.glob has no ** that follows links
        source = os.path.abspath(name)  # noqa: PTH100 - as above
        if not os.path.isdir(source):  # noqa: PTH112 - a Path for each of millions is slow
            yield Listed(source, os.path.relpath(source, root))


def _walk(folder: str, below: str, options: ListOptions, above: frozenset[tuple[int, int]]) -> Iterator[Listed]:
    """The clips of a folder in order; hidden ones are left out, and links that lead back up."""
    try:
        status = os.stat(folder)  # noqa: PTH116 - as above
        here = (status.st_dev, status.st_ino)
        if here in above or (options.skip is not None and below and options.skip == Path(folder)):
            return
        with os.scandir(folder) as entries:
            while run := list(itertools.islice(entries, _RUN)):
                for name, is_folder in sorted((one.name, one.is_dir()) for one in run if _is_wanted(one, options)):
                    if is_folder:
                        yield from _walk(f"{folder}/{name}", f"{below}{name}/", options, above | {here})
                    else:
                        yield Listed(f"{folder}/{name}", f"{below}{name}")
    except OSError as error:
        raise InputError(f"{folder}: can't be listed ({error.strerror})") from error


def _is_wanted(entry: os.DirEntry[str], options: ListOptions) -> bool:
    if entry.name.startswith("."):
        return False
    if entry.is_dir():
        return options.recursive
    return entry.name[entry.name.rfind(".") :].lower() in options.suffixes and entry.is_file()
