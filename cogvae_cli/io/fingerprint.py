"""What a file's bytes are, as a hash."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from cogvae_cli.errors import InputError

_BLOCK = 1 << 20


def sha256_of(*paths: Path) -> str:
    """sha256 of the files' bytes, one after the other, in hexadecimal. Raises InputError if one can't be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{path}: can't be read ({error.strerror})") from error
    return digest.hexdigest()


def stamp_of(source: str) -> dict[str, Any]:
    """Bytes of a source's files together, and when the last of them changed, in nanoseconds; of a URL its version.

    As a row of a manifest has it. Raises InputError.
    """
    from cogvae_cli.io.picture_sequence import files_of
    from cogvae_cli.io.remote import is_url, url_stamp

    if is_url(source):
        return url_stamp(source)
    try:
        found = [path.stat() for path in files_of(Path(source))]
    except FileNotFoundError as error:
        raise InputError(f"{source}: no such file") from error
    except OSError as error:
        raise InputError(f"{source}: can't be read ({error.strerror})") from error
    return {
        "source_bytes": sum(one.st_size for one in found),
        "source_mtime_ns": max(one.st_mtime_ns for one in found),
    }


def source_sha256(source: str) -> str:
    """sha256 of a source's files, one after the other, or of what is at a URL. Raises InputError."""
    from cogvae_cli.io.picture_sequence import files_of
    from cogvae_cli.io.remote import is_url, url_sha256

    return url_sha256(source) if is_url(source) else sha256_of(*files_of(Path(source)))
