"""Finding a model's files: built in, a preset, on disk, or on the Hub. Nothing falls back to another model."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Collection
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path

from cogvae_cli.errors import ModelError, UsageError
from cogvae_cli.io.hub_cache import cached_model, commit_of, is_offline
from cogvae_cli.io.hub_check import check_fetched, checked
from cogvae_cli.io.hub_download import Listing, Transfer, fetch, listing
from cogvae_cli.io.hub_errors import RepoAt, UnreachableError, absent
from cogvae_cli.io.model_folder import CONFIG, INDEX, PICKLES, PLACES, STEM, WEIGHTS, in_folder, on_disk
from cogvae_cli.io.weights import ModelFiles, read_object
from cogvae_cli.model.config import BUILT_IN, PRESETS, Preset, VAEConfig

__all__ = ["HubModel", "ModelFiles", "find_model", "on_hub"]

_USUAL = (f"{STEM}{WEIGHTS}", f"{STEM}{INDEX}", f"{STEM}-*-of-*{WEIGHTS}")
_VARIANTS = (f"{STEM}*{WEIGHTS}", f"{STEM}*{INDEX}")  # like .fp16.safetensors, where there is nothing else
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_REVISION = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*", re.ASCII)


@dataclasses.dataclass(frozen=True)
class HubModel:
    """A model that lives on the Hub: the name that it was asked for by, the repository, and what is pinned for it."""

    name: str
    repo: str
    revision: str
    preset: Preset | None

    def pinned_sha256(self, commit: str) -> str | None:
        """The weights' sha256 that is known for that commit."""
        return self.preset.weights_sha256 if self.preset and self.preset.revision == commit else None


def find_model(model: str, *, revision: str | None = None, transfer: Transfer | None = None) -> ModelFiles:
    """The files of the model of that name, fetched from the Hub where they aren't on this machine.

    model: `tiny`; a preset; a folder with `vae/` or config.json inside; a .safetensors file with config.json beside it;
    or a Hub id. What looks like a path is never sent to the Hub.
    revision: commit, tag or branch on the Hub; needed where no commit is pinned.
    Raises ModelError for what isn't there or isn't supported, HubError for a Hub that can't be reached or refuses,
    UsageError for a revision that is missing, or given where there is none.
    """
    wanted = on_hub(model, revision)
    if wanted is not None:
        return _from_hub(wanted, transfer)
    if model == BUILT_IN:
        return in_folder(Path(str(resources.files("cogvae_cli").joinpath("assets", BUILT_IN))), BUILT_IN)
    try:
        return on_disk(Path(model).expanduser())
    except (OSError, RuntimeError) as error:  # RuntimeError: no such user after the ~
        raise ModelError(f"{model} can't be read: {getattr(error, 'strerror', error)}", PLACES) from error


def on_hub(model: str, revision: str | None = None) -> HubModel | None:
    """Where a name leads on the Hub; None for `tiny` and local paths. Asks nobody.

    Raises ModelError for a name that leads nowhere, UsageError for a revision that is missing, given where there is
    none, or none that git allows.
    """
    if model == BUILT_IN or (model not in PRESETS and _looks_local(model)):
        if revision is not None:
            kind = "built in" if model == BUILT_IN else "a local path"
            raise UsageError(f"--revision {revision} was given, but {model} is {kind}", "--revision is for Hub models")
        return None
    if model not in PRESETS and not _HUB_ID.fullmatch(model):
        raise ModelError(f"there is no model {model!r}{_nearest(model)}", PLACES)
    known = (preset for name, preset in PRESETS.items() if name == model or preset.repo.lower() == model.lower())
    preset = next(known, None)
    revision = revision or (preset.revision if preset else None)
    if revision is None:
        missing = "no commit is pinned for it" if preset else "it is no preset, nor a path on this machine"
        raise UsageError(f"{model} needs --revision: {missing}", "name a commit of the Hub, or `main` for its newest")
    if not _REVISION.fullmatch(revision):
        raise UsageError(f"--revision {revision!r} is no commit, tag or branch", "a commit has 40 digits 0-9 and a-f")
    return HubModel(model, preset.repo if preset else model, revision, preset)


def _looks_local(model: str) -> bool:
    """Whether a name means this machine: it starts or ends like a path, or something of that name exists."""
    if not model or "\0" in model:
        return False
    shaped = model.startswith((".", "/", "~")) or model.endswith(("/", WEIGHTS, ".json", *PICKLES))
    try:
        return shaped or Path(model).exists()
    except OSError:  # as for a name that is too long for a file
        return False


def _nearest(model: str) -> str:
    names = (BUILT_IN, *PRESETS)
    last = model.rpartition("/")[2].lower()
    near = difflib.get_close_matches(last, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; presets are {', '.join(PRESETS)}"


def _from_hub(wanted: HubModel, transfer: Transfer | None) -> ModelFiles:
    """From the cache where it has the commit whole, else fetched. Each file's hash is checked either way."""
    commit = commit_of(wanted.repo, wanted.revision)
    cached = cached_model(wanted.name, wanted.repo, commit) if commit else None
    if cached is not None and (commit == wanted.revision or is_offline()):
        files = cached
    else:  # what a branch or tag means may have changed, so the Hub is asked first
        try:
            files = _fetched(wanted, listing(RepoAt(wanted.repo, wanted.revision)), transfer)
        except UnreachableError as error:
            if cached is None:
                raise
            if transfer is not None:
                transfer.notice(f"{error}; taken from the cache is commit {commit}")
            files = cached
    return checked(files, wanted.pinned_sha256(files.revision or ""))


def _fetched(wanted: HubModel, remote: Listing, transfer: Transfer | None) -> ModelFiles:
    """Fetches the config first, so that nothing large comes of what is no CogVideoX VAE."""
    where, at = RepoAt(wanted.repo, wanted.revision), RepoAt(wanted.repo, remote.commit)
    inside = "vae/" if f"vae/{CONFIG}" in remote.files else ""
    if f"{inside}{CONFIG}" not in remote.files:
        raise absent(where, f"vae/{CONFIG} nor {CONFIG}")
    names = _weights(where, inside, remote.files)
    # Asked for by the revision's name, the cache remembers which commit the name meant, and finds it without network.
    config, commit = fetch(where, f"{inside}{CONFIG}", transfer)
    if commit != remote.commit:  # the branch moved on since it was listed
        config, _ = fetch(at, f"{inside}{CONFIG}", transfer)
    check_fetched(config, remote.files[f"{inside}{CONFIG}"])
    VAEConfig.from_diffusers(read_object(config), f"{inside}{CONFIG} of {where}")
    hashes = {}
    for name in names:
        path, _ = fetch(at, name, transfer)
        hashes[path.name] = check_fetched(path, remote.files[name])
    found = in_folder(config.parent, wanted.name)
    known = tuple((path.name, hashes[path.name]) for path in found.weights if path.name in hashes)
    return dataclasses.replace(found, revision=remote.commit, hashes=known)


def _weights(where: RepoAt, inside: str, names: Collection[str]) -> list[str]:
    """The paths of the weights and their index among a repository's files. Raises ModelError where they're unclear."""
    local = sorted(name.removeprefix(inside) for name in names if name.startswith(inside))
    for patterns in (_USUAL, _VARIANTS):
        found = [name for name in local if "/" not in name and any(fnmatchcase(name, one) for one in patterns)]
        whole = [name for name in found if name.endswith(WEIGHTS)]
        if patterns is _VARIANTS and len(whole) > 1 and not any(name.endswith(INDEX) for name in found):
            raise ModelError(
                f"{where} has {len(whole)} files of weights, none of the usual name: {', '.join(whole)}",
                f"fetch one of them by `hf download {where.repo}` and give it by path",
            )
        if whole:
            return [inside + name for name in found]
    raise absent(where, f"{inside}{STEM}{WEIGHTS}; only safetensors weights are read, no pickles")
