"""Where a batch keeps its manifest while it runs: the folder of its outputs, or of one with a URL a folder here.

A store can't be appended to, so the manifest grows here, and the store gets it every minute and at the end. Whichever
of the two has more rows is gone on with.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cogvae_cli.errors import OutputError
from cogvae_cli.io.manifest import Manifest
from cogvae_cli.io.store import Store
from cogvae_cli.pipeline.batch_options import BatchOptions
from cogvae_cli.pipeline.compile_cache import cache_folder


def home_of(url: str | None, out: str | Path) -> Path:
    """The folder, absolute. Raises OutputError where there is none for a URL."""
    if url is None:
        return Path(os.path.abspath(out))  # noqa: PTH100 - links stay, ".." goes
    folder = cache_folder()
    if folder is None:
        raise OutputError(
            f"{url}: its manifest needs a folder here while it grows", "let COGVAE_CACHE name one, not off"
        )
    return folder / "batches" / hashlib.sha256(url.encode()).hexdigest()[:16]


def made_home(url: str | None, out: str | Path) -> Path:
    """As `home_of`, made if it isn't there. Raises OutputError."""
    home = home_of(url, out)
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{home}: can't be made ({error.strerror})") from error
    return home


def fetch_manifests(store: Store, home: Path, batch: BatchOptions) -> list[str]:
    """Brings what the store knows of earlier runs; gives the manifests of shards, which are to be merged.

    Raises OutputError.
    """
    with Manifest(home / batch.manifest):
        pass  # nobody here is writing to it, who would lose what he writes from now on
    shards = store.names("manifest-*-of-*.jsonl") if batch.shard is None else []
    for name in (batch.manifest, *shards):
        here, theirs = home / name, home / f"{name}.fetched"
        try:
            if store.get(name, theirs) and _lines(theirs) > _lines(here):
                theirs.replace(here)
        finally:
            theirs.unlink(missing_ok=True)
    return shards


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0
