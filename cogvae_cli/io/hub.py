"""Finding a model's files: built in, a preset, on disk, or on the Hub. Nothing falls back to another model."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from cogvae_cli.errors import ModelError, UsageError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.hub_download import RepoAt, absent, download
from cogvae_cli.io.weights import ModelFiles, read_object, shards_of
from cogvae_cli.model.config import BUILT_IN, PRESETS, Preset, VAEConfig

__all__ = ["ModelFiles", "find_model"]

_STEM = "diffusion_pytorch_model"  # diffusers' name of every VAE's weights
_CONFIG = "config.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_WEIGHTS = ".safetensors"
_INDEX = ".safetensors.index.json"
_USUAL = (f"{_STEM}{_WEIGHTS}", f"{_STEM}{_INDEX}", f"{_STEM}-*-of-*{_WEIGHTS}")
_VARIANTS = (f"{_STEM}*{_WEIGHTS}", f"{_STEM}*{_INDEX}")  # like .fp16.safetensors, where there is nothing else
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_CONVERT = "load it with diffusers and save it by save_pretrained(folder, safe_serialization=True)"
_PLACES = f"give `--model {BUILT_IN}`, a preset, a folder, a .safetensors file or a Hub id (org/name)"


def find_model(model: str, *, revision: str | None = None) -> ModelFiles:
    """The files of the model of that name, fetched from the Hub where they aren't on this machine.

    model: `tiny`; a preset; a folder with `vae/` or config.json inside; a .safetensors file with config.json beside it;
    or a Hub id. What looks like a path is never sent to the Hub.
    revision: commit, tag or branch on the Hub; needed where no commit is pinned.
    Raises ModelError for what isn't there or isn't supported, HubError for a Hub that can't be reached or refuses,
    UsageError for a revision that is missing, or given where there is none.
    """
    if model == BUILT_IN:
        _refuse_revision(model, "built in", revision)
        folder = Path(str(resources.files("cogvae_cli").joinpath("assets", BUILT_IN)))
        return _in_folder(folder, BUILT_IN)
    if model in PRESETS:
        return _on_hub(model, PRESETS[model], PRESETS[model].repo, revision)
    if _looks_local(model):
        _refuse_revision(model, "a local path", revision)
        try:
            return _on_disk(Path(model).expanduser())
        except (OSError, RuntimeError) as error:  # RuntimeError: no such user after the ~
            raise ModelError(f"{model} can't be read: {getattr(error, 'strerror', error)}", _PLACES) from error
    if not _HUB_ID.fullmatch(model):
        raise ModelError(f"there is no model {model!r}{_nearest(model)}", _PLACES)
    pinned = next((preset for preset in PRESETS.values() if preset.repo.lower() == model.lower()), None)
    return _on_hub(model, pinned, model, revision)


def _refuse_revision(model: str, kind: str, revision: str | None) -> None:
    if revision is not None:
        raise UsageError(
            f"--revision {revision} was given, but {model} is {kind}", "--revision is for models of the Hub"
        )


def _looks_local(model: str) -> bool:
    """Whether a name means this machine: it starts or ends like a path, or something of that name exists."""
    if not model or "\0" in model:
        return False
    shaped = model.startswith((".", "/", "~")) or model.endswith(("/", _WEIGHTS, ".json", *_PICKLES))
    try:
        return shaped or Path(model).exists()
    except OSError:  # as for a name that is too long for a file
        return False


def _nearest(model: str) -> str:
    names = (BUILT_IN, *PRESETS)
    last = model.rpartition("/")[2].lower()
    near = difflib.get_close_matches(last, names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; presets are {', '.join(PRESETS)}"


def _on_disk(path: Path) -> ModelFiles:
    name = path.absolute().name or path.resolve().name
    if not path.exists():
        raise ModelError(f"{path} is not there", _PLACES)
    if path.is_dir():
        inner = path / "vae"
        return _in_folder(inner if (inner / _CONFIG).is_file() else path, name)
    if path.suffix in _PICKLES:
        raise ModelError(f"{path} is a pickle, which can run code when it is read; only safetensors are read", _CONVERT)
    if path.suffix != _WEIGHTS:
        raise ModelError(f"{path} is no .safetensors file", _PLACES)
    config = path.with_name(_CONFIG)
    if not config.is_file():
        raise ModelError(f"{path} has no {_CONFIG} beside it", "put the config.json of the model's vae/ folder there")
    return ModelFiles(name, None, config, (path,))


def _in_folder(folder: Path, name: str) -> ModelFiles:
    """The files of a diffusers folder. Raises ModelError, naming what is missing."""
    config = folder / _CONFIG
    if not config.is_file():
        raise ModelError(
            f"{folder} has no {_CONFIG}", "give the vae/ folder of a CogVideoX model, or the folder above it"
        )
    names = sorted(entry.name for entry in folder.iterdir())
    index = _one_of(folder, [entry for entry in names if entry.endswith(_INDEX)], f"{_STEM}{_INDEX}")
    if index is not None:
        shards = sorted(set(shards_of(index).values()))
        absent = [shard for shard in shards if not (folder / shard).is_file()]
        if absent:
            raise ModelError(f"{index} names the shard {absent[0]}, which isn't in {folder}", "fetch the model again")
        return ModelFiles(name, None, config, tuple(folder / shard for shard in shards), index)
    weights = _one_of(folder, [entry for entry in names if entry.endswith(_WEIGHTS)], f"{_STEM}{_WEIGHTS}")
    if weights is None:
        pickles = [entry for entry in names if entry.endswith(_PICKLES)]
        if pickles:
            raise ModelError(f"{folder} has only {pickles[0]}, a pickle; only safetensors weights are read", _CONVERT)
        raise ModelError(f"{folder} has no .safetensors weights", f"a .bin, .pt or .ckpt isn't read: {_CONVERT}")
    return ModelFiles(name, None, config, (weights,))


def _one_of(folder: Path, names: Sequence[str], usual: str) -> Path | None:
    """The file of the usual name, else the only one there is. Raises ModelError where the choice would be a guess."""
    if usual in names:
        return folder / usual
    if len(names) > 1:
        raise ModelError(f"{folder} has {len(names)} files of weights: {', '.join(names)}", "give one of them by path")
    return folder / names[0] if names else None


def _on_hub(name: str, preset: Preset | None, repo: str, revision: str | None) -> ModelFiles:
    revision = revision or (preset.revision if preset else None)
    if revision is None:
        missing = "no commit is pinned for it" if preset else "it is no preset, nor a path on this machine"
        raise UsageError(f"{name} needs --revision: {missing}", "name a commit of the Hub, or `main` for its newest")
    where = RepoAt(repo, revision)
    root, commit = download(where, (f"vae/{_CONFIG}", _CONFIG))
    inside = "vae/" if (root / "vae" / _CONFIG).is_file() else ""
    config = root / inside / _CONFIG
    if not config.is_file():
        raise absent(where, f"vae/{_CONFIG} nor {_CONFIG}")
    VAEConfig.from_diffusers(read_object(config), f"{inside}{_CONFIG} of {where}")  # before fetching what isn't a VAE
    for patterns in (_USUAL, _VARIANTS):
        download(RepoAt(repo, commit), tuple(inside + pattern for pattern in patterns))
        if any(config.parent.glob(f"*{_WEIGHTS}")):
            break
    else:
        raise absent(where, f"{inside}{_STEM}{_WEIGHTS}; only safetensors weights are read, no pickles")
    found = _in_folder(config.parent, name)
    hashes = tuple((path.name, _verified(path, _pin(preset, commit))) for path in found.weights)
    return ModelFiles(name, commit, found.config, found.weights, found.index, hashes)


def _pin(preset: Preset | None, commit: str) -> str | None:
    return preset.weights_sha256 if preset and preset.revision == commit else None


def _verified(path: Path, pinned: str | None) -> str:
    """A fetched file's sha256. Raises ModelError if it isn't the pinned one, or the one that the Hub announced."""
    blob = path.resolve()  # the Hub's cache names a large file by the sha256 that the Hub sent
    announced = blob.name if re.fullmatch(r"[0-9a-f]{64}", blob.name) else None
    actual = sha256_of(path)
    for wanted, teller in ((pinned, "the one pinned"), (announced, "the one the Hub announced")):
        if wanted is not None and wanted != actual:
            raise ModelError(
                f"{path.name} has the sha256 {actual}, not {teller}, {wanted}", f"delete {blob} and fetch it again"
            )
    return actual
