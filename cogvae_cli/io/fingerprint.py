"""What a file's bytes are, as a hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cogvae_cli.errors import InputError


def sha256_of(path: Path) -> str:
    """sha256 of the file's bytes in hexadecimal, read in pieces. Raises InputError if it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error
