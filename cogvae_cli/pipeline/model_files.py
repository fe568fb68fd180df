"""The models that have a name: which there are, which are on this machine, and fetching them from the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogvae_cli.errors import UsageError
from cogvae_cli.io import hub, hub_cache, weights
from cogvae_cli.io.hub_download import Transfer
from cogvae_cli.model.config import BUILT_IN, PRESETS
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.results import SCHEMA_VERSION

_MEGABYTE = 10**6


@dataclass(frozen=True)
class CachedCopy:
    """A model's files on this machine at one commit."""

    revision: str | None
    """None for the built-in model."""
    folder: Path
    size: int
    """Bytes of the config, the weights and their index."""

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {"revision": self.revision, "folder": str(self.folder), "bytes": self.size}


@dataclass(frozen=True)
class ListedModel:
    """A model that has a name."""

    name: str
    repository: str | None
    """On the Hub; None for the built-in model."""
    revision: str | None
    """The pinned commit; None where --revision is needed, and for the built-in model."""
    scaling_factor: float
    copies: tuple[CachedCopy, ...]
    """The commits that are whole in the cache; the pinned one first."""

    @property
    def cached(self) -> bool:
        """Whether the model can be used without network: at the pinned commit, or at any where none is pinned."""
        return any(self.revision in (None, copy.revision) for copy in self.copies)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "name": self.name,
            "repository": self.repository,
            "revision": self.revision,
            "needs_revision": self.repository is not None and self.revision is None,
            "scaling_factor": self.scaling_factor,
            "cached": self.cached,
            "copies": [copy.as_dict() for copy in self.copies],
        }


@dataclass(frozen=True)
class ModelList:
    """All models that have a name, and the folder of the Hub's cache."""

    cache: Path
    models: tuple[ListedModel, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        models = [model.as_dict() for model in self.models]
        return {"schema_version": SCHEMA_VERSION, "kind": "models", "cache": str(self.cache), "models": models}


def list_models() -> ModelList:
    """The built-in model and the presets. Looks at the cache and asks nobody; reads no weights."""
    built_in = hub.find_model(BUILT_IN)
    factor = weights.read_config(built_in).scaling_factor
    models = [ListedModel(BUILT_IN, None, None, factor, (_copy(built_in),))]
    for preset in PRESETS.values():
        commits = hub_cache.cached_commits(preset.repo)
        found = [hub_cache.cached_model(preset.name, preset.repo, commit) for commit in commits]
        copies = [_copy(files) for files in found if files is not None]
        copies.sort(key=lambda copy: copy.revision != preset.revision)
        models.append(ListedModel(preset.name, preset.repo, preset.revision, preset.scaling_factor, tuple(copies)))
    return ModelList(hub_cache.cache_folder(), tuple(models))


def _copy(files: weights.ModelFiles) -> CachedCopy:
    index = [] if files.index is None else [files.index]
    size = sum(path.stat().st_size for path in (files.config, *files.weights, *index))
    return CachedCopy(files.revision, files.config.parent, size)


@dataclass(frozen=True)
class StoredFile:
    """A file of a model, as it lies on this machine."""

    name: str
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class FetchedModel:
    """A model whose files are on this machine, whole and checked."""

    name: str
    repository: str | None
    revision: str | None
    """The commit; None for the built-in model."""
    scaling_factor: float
    folder: Path
    files: tuple[StoredFile, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "name": self.name,
            "repository": self.repository,
            "revision": self.revision,
            "scaling_factor": self.scaling_factor,
            "folder": str(self.folder),
            "files": [{"name": file.name, "bytes": file.size, "sha256": file.sha256} for file in self.files],
        }


def fetch_models(
    names: Sequence[str], *, revision: str | None = None, progress: Progress | None = None
) -> Iterator[FetchedModel]:
    """Brings models from the Hub into its cache, one after the other; what is there already is checked again.

    `revision` belongs to one model, so it goes with one name only. All names are checked before anything is fetched.
    Raises UsageError, ModelError for what isn't there, isn't a CogVideoX VAE or isn't what was announced, and HubError.
    """
    if revision is not None and len(names) > 1:
        raise UsageError(f"--revision goes with one model, and {len(names)} were named", "fetch them one by one")
    places = [hub.on_hub(name, revision) for name in names]
    for name, place in zip(names, places, strict=True):
        if place is None and name != BUILT_IN:
            raise UsageError(f"{name} is a local path: there is nothing to fetch", "give a preset or a Hub id")
    progress = progress or Progress()
    return (_fetch(name, place, progress) for name, place in zip(names, places, strict=True))


def _fetch(name: str, place: hub.HubModel | None, progress: Progress) -> FetchedModel:
    if place is not None:
        progress.phase(f"fetching {name}: the VAE of {place.repo} at {place.revision[:12]}")
    files = hub.find_model(name, revision=place.revision if place else None, transfer=transfer_to(progress))
    config = weights.read_config(files)
    weights.check_whole(files)
    paths = {path.name: path for path in (files.config, *files.weights)}
    stored = tuple(StoredFile(name, paths[name].stat().st_size, sha256) for name, sha256 in weights.file_hashes(files))
    repository = None if place is None else place.repo
    return FetchedModel(name, repository, files.revision, config.scaling_factor, files.config.parent, stored)


def transfer_to(progress: Progress) -> Transfer:
    """A listener of downloads that tells a run's progress, in megabytes."""
    return _Megabytes(progress)


class _Megabytes(Transfer):
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bytes = self._told = 0
        self._counts = False

    def begin(self, name: str, size: int | None) -> None:
        self._bytes = self._told = 0
        self._counts = size is None or size >= _MEGABYTE
        if self._counts:
            self._progress.begin(None if size is None else size // _MEGABYTE, unit="MB")

    def received(self, count: int) -> None:
        self._bytes += count
        more = self._bytes // _MEGABYTE - self._told
        if self._counts and more > 0:  # less where the file starts over: the bar waits until it is past what it showed
            self._told += more
            self._progress.advance(more)

    def end(self) -> None:
        if self._counts:
            self._progress.end()

    def notice(self, text: str) -> None:
        self._progress.notice(text)
