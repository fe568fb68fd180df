"""What a file's bytes are, as a hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

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
