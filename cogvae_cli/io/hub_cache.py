"""What the Hub's cache on this machine holds, without network.

Its layout is huggingface_hub's: models--ORG--NAME/snapshots/COMMIT/ holds links to blobs/, where a large file is named
by the sha256 that the Hub announced; refs/ holds the commit that a branch or tag last meant. A file is there under its
name only when it was fetched to its end.
"""

from __future__ import annotations

import re
from pathlib import Path

from cogvae_cli.errors import ModelError
from cogvae_cli.io.model_folder import CONFIG, in_folder
from cogvae_cli.io.weights import ModelFiles

COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def cache_folder() -> Path:
    """Where the Hub's files are kept: HF_HUB_CACHE, or `hub` in HF_HOME, or the usual place in the home folder."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser().absolute()


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the Hub."""
    from huggingface_hub import constants

    return constants.is_offline_mode()


def commit_of(repo: str, revision: str) -> str | None:
    """The commit that a revision is, or last was when the Hub was asked."""
    if COMMIT.fullmatch(revision):
        return revision
    path = _storage(repo) / "refs" / revision
    commit = path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else ""
    return commit if COMMIT.fullmatch(commit) else None


def cached_commits(repo: str) -> tuple[str, ...]:
    """The commits of which anything is cached, sorted."""
    folder = _storage(repo) / "snapshots"
    names = (entry.name for entry in folder.iterdir()) if folder.is_dir() else ()
    return tuple(sorted(name for name in names if COMMIT.fullmatch(name)))


def cached_model(name: str, repo: str, commit: str) -> ModelFiles | None:
    """The VAE's files at that commit where all of them are cached, under the name that they were asked for by."""
    root = _storage(repo) / "snapshots" / commit
    folder = root / "vae" if (root / "vae" / CONFIG).is_file() else root
    if not (folder / CONFIG).is_file():
        return None
    try:
        found = in_folder(folder, name)
    except ModelError:  # not all of it is there, which is no fault in a cache
        return None
    return ModelFiles(name, commit, found.config, found.weights, found.index)


def announced_sha256(path: Path) -> str | None:
    """The sha256 that the Hub announced for a cached file; None where the cache doesn't tell it."""
    if not path.is_symlink():
        return None
    blob = path.readlink().name  # one step: a blob may be a link to a store that names files by another kind of hash
    return blob if _SHA256.fullmatch(blob) else None


def forget(path: Path) -> None:
    """Removes a damaged file from the cache, so that it is fetched anew: the link, the blob, and what that links to."""
    steps = [path]
    while steps[-1].is_symlink():
        steps.append(steps[-1].parent / steps[-1].readlink())
    for step in steps:
        step.unlink(missing_ok=True)


def _storage(repo: str) -> Path:
    return cache_folder() / f"models--{repo.replace('/', '--')}"
