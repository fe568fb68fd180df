"""Sources that have a URL, through fsspec: listed where they are, and fetched as whole files when their turn comes.

fsspec itself comes with huggingface_hub; `gs://` needs the extra `gcs`, other stores their own package.
"""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cogvae_cli.errors import InputError, UsageError

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_VERSIONS = (
    "etag",
    "ETag",
    "generation",
    "md5Hash",
    "content_md5",
    "LastModified",
    "last_modified",
    "mtime",
    "created",
)
"""What file systems say of a file that changes with it, the surest first."""

_BLOCK = 1 << 20


def is_url(text: str) -> bool:
    """Whether a text is a URL, `gs://bucket/clip.mp4`, and not a path."""
    return _URL.match(text) is not None


def list_url(url: str, suffixes: Sequence[str], *, recursive: bool) -> Iterator[tuple[str, str]]:
    """The files that a URL stands for, and their places below it: a file, a folder's, or those of a pattern.

    Raises InputError where it can't be listed, UsageError where its kind of URL isn't known.
    """
    system, path = system_of(url)
    with _told(url):
        if any(sign in path for sign in "*?["):
            root = posixpath.dirname(re.split(r"[*?\[]", path, maxsplit=1)[0])
            yield from ((_url_of(system, found), posixpath.relpath(found, root)) for found in system.glob(path))
        elif system.isdir(path):
            for folder, _, names in system.walk(path, maxdepth=None if recursive else 1):
                for name in sorted(names):
                    if name[name.rfind(".") :].lower() in suffixes and not name.startswith("."):
                        found = posixpath.join(folder, name)
                        yield _url_of(system, found), posixpath.relpath(found, path)
        else:
            yield url, posixpath.basename(path)


def url_stamp(url: str) -> dict[str, Any]:
    """Bytes, and what else tells whether a file has changed; no version where its file system has none.

    Raises InputError.
    """
    system, path = system_of(url)
    with _told(url):
        info = system.info(path)
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), None)
    return {"source_bytes": int(info.get("size") or 0), "source_version": version}


def url_sha256(url: str) -> str:
    """sha256 of a file's bytes. Raises InputError."""
    digest = hashlib.sha256()
    system, path = system_of(url)
    with _told(url), system.open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def fetch(url: str, folder: Path) -> Path:
    """A copy of a file in a new folder, under its own name. Raises InputError."""
    system, path = system_of(url)
    folder.mkdir()
    copy = folder / posixpath.basename(path)
    with _told(url), system.open(path, "rb") as file, copy.open("wb") as out:
        while block := file.read(_BLOCK):
            out.write(block)
    return copy


def system_of(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Raises UsageError where its kind of URL is not known."""
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        hint = "gs:// needs pip install 'cogvae[gcs]'; for others install what fsspec names"
        raise UsageError(f"{url}: can't be read ({error})", hint) from error
    return system, str(path)


def _url_of(system: Any, path: str) -> str:
    return str(system.unstrip_protocol(path))


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Turns what file systems raise into InputError that names the URL."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{url}: no such file") from error
    except (OSError, ValueError, RuntimeError) as error:  # of a store's client, whatever it is
        raise InputError(f"{url}: can't be read ({type(error).__name__}: {error})") from error
