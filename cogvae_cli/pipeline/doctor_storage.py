"""Where weights come from and where things are kept: the Hub, its cache, JAX's cache of programs, temporary files."""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from cogvae_cli.pipeline import compile_cache
from cogvae_cli.pipeline.doctor import Check

_SECONDS = 10
_LEAST_FREE = 2_000_000_000
"""Bytes: the weights of one model, and room to work."""


def hub() -> Iterator[Check]:
    """Whether the Hub answers, and which models need not be fetched."""
    from huggingface_hub import constants

    from cogvae_cli.io.hub_cache import is_offline

    cached = _cached()
    if is_offline():
        have = f"in the cache: {', '.join(cached)}" if cached else "no model is in the cache"
        yield Check("Hub", "note", f"not asked, for HF_HUB_OFFLINE is set; {have}")
    else:
        yield _reached(constants.ENDPOINT, cached)


def _reached(address: str, cached: list[str]) -> Check:
    request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "cogvae"})
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):
            pass
    except urllib.error.HTTPError:
        pass  # whatever it says, it answers
    except (OSError, ValueError) as error:
        words = " ".join(str(getattr(error, "reason", error)).split())
        have = f"only what is in the cache ({', '.join(cached)})" if cached else "only --model tiny and local paths"
        cure = f"check the network and HTTPS_PROXY, or set HF_ENDPOINT; until then {have} can be used"
        return Check("Hub", "fault", f"{address} can't be reached ({words})", cure)
    return Check("Hub", "ok", f"{address} answers; in the cache: {', '.join(cached) or 'no model yet'}")


def _cached() -> list[str]:
    """Presets whose weights are on this machine."""
    from cogvae_cli.pipeline.model_files import list_models

    return [model.name for model in list_models().models if model.cached and model.repository is not None]


def caches() -> Iterator[Check]:
    """Folders that are written to: whether they can be, and have room."""
    from cogvae_cli.io.hub_cache import cache_folder

    yield _folder("Hub cache", cache_folder(), "set HF_HOME to a folder that can be written to")
    chosen, ours = os.environ.get("JAX_COMPILATION_CACHE_DIR"), compile_cache.cache_folder()
    if chosen and "://" not in chosen:
        cure = "set JAX_COMPILATION_CACHE_DIR to a folder that can be written to"
        yield _folder("compile cache", Path(chosen), cure)
    elif not chosen and ours is not None:
        yield _folder("compile cache", ours, "set COGVAE_CACHE to a folder that can be written to, or to off")
    yield _folder("temporary files", Path(tempfile.gettempdir()), "set TMPDIR to a folder that can be written to")


def _folder(name: str, folder: Path, cure: str) -> Check:
    """A folder, or the nearest one above it that is there: it would be made when it is needed."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return Check(name, "fault", f"{folder}: {there} is no folder", cure)
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(name, "fault", f"{folder}: no permission to write in {there}", cure)
    free = shutil.disk_usage(there).free
    text = f"{folder}, {free / 1e9:.1f} GB free{'' if there == folder else ', not made yet'}"
    if free < _LEAST_FREE:
        return Check(name, "fault", f"{text}: that is little", "make room there, or " + cure)
    return Check(name, "ok", text)
