"""Whether the bytes in the Hub's cache are those that the Hub announced and those that are pinned."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from cogvae_cli.errors import CogvaeError, ModelError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.hub_cache import announced_sha256, forget
from cogvae_cli.io.hub_download import RemoteFile
from cogvae_cli.io.weights import ModelFiles


def check_fetched(path: Path, remote: RemoteFile) -> str:
    """The sha256 of a file that was just fetched.

    Raises ModelError if it isn't what the Hub announced, and removes it, so that the next fetch can mend it.
    """
    actual = sha256_of(path)
    if remote.sha256 is not None:
        if actual != remote.sha256:
            raise _damaged(path, f"the sha256 {actual}", remote.sha256)
    elif remote.git_hash is not None:
        content = path.read_bytes()  # config or index: small, or it is refused before
        found = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
        if found != remote.git_hash:
            raise _damaged(path, f"the git hash {found}", remote.git_hash)
    return actual


def checked(files: ModelFiles, pinned: str | None) -> ModelFiles:
    """The same files with the sha256 of all weights. Raises ModelError for what isn't as announced, or as pinned."""
    known = dict(files.hashes)
    hashes = []
    for path in files.weights:
        actual, announced = known.get(path.name) or sha256_of(path), announced_sha256(path)
        if announced is not None and actual != announced:
            raise _damaged(path, f"the sha256 {actual}", announced)
        if pinned is not None and actual != pinned:
            raise ModelError(
                f"{path.name} of {files.name} has the sha256 {actual}, not the one pinned, {pinned}",
                f"don't use {path} before it is clear why; another commit can be named with --revision",
            )
        hashes.append((path.name, actual))
    return dataclasses.replace(files, hashes=tuple(hashes))


def _damaged(path: Path, actual: str, announced: str) -> CogvaeError:
    forget(path)
    return ModelError(
        f"{path.name} has {actual}, not the one the Hub announced, {announced}",
        "it was removed from the Hub's cache; run the command again to fetch it anew",
    )
