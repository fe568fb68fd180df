"""A model's files on disk in diffusers' form: a folder, or one file of weights with config.json beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cogvae_cli.errors import ModelError
from cogvae_cli.io.weights import ModelFiles, shards_of
from cogvae_cli.model.config import BUILT_IN

STEM = "diffusion_pytorch_model"
"""diffusers' name of every VAE's weights, without the suffix."""

CONFIG = "config.json"
WEIGHTS = ".safetensors"
INDEX = ".safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
PLACES = f"give `--model {BUILT_IN}`, a preset, a folder, a .safetensors file or a Hub id (org/name)"
"""The hint of every error about a name that leads nowhere."""

_SHARD = re.compile(r".*-\d{5}-of-\d{5}\.safetensors")
_CONVERT = "load it with diffusers and save it by save_pretrained(folder, safe_serialization=True)"


def on_disk(path: Path) -> ModelFiles:
    """The model at a path, named by the path's last part. Raises ModelError, or the OSError of a path out of reach."""
    name = path.absolute().name or path.resolve().name
    if not path.exists():
        raise ModelError(f"{path} is not there", PLACES)
    if path.is_dir():
        inner = path / "vae"
        return in_folder(inner if (inner / CONFIG).is_file() else path, name)
    if path.suffix in PICKLES:
        raise ModelError(f"{path} is a pickle, which can run code when it is read; only safetensors are read", _CONVERT)
    if path.suffix != WEIGHTS:
        raise ModelError(f"{path} is no .safetensors file", PLACES)
    config = path.with_name(CONFIG)
    if not config.is_file():
        raise ModelError(f"{path} has no {CONFIG} beside it", "put the config.json of the model's vae/ folder there")
    return ModelFiles(name, None, config, (path,))


def in_folder(folder: Path, name: str) -> ModelFiles:
    """The files of a diffusers folder. Raises ModelError, naming what is missing."""
    config = folder / CONFIG
    if not config.is_file():
        raise ModelError(
            f"{folder} has no {CONFIG}", "give the vae/ folder of a CogVideoX model, or the folder above it"
        )
    names = sorted(entry.name for entry in folder.iterdir())
    index = _one_of(folder, [entry for entry in names if entry.endswith(INDEX)], f"{STEM}{INDEX}")
    if index is not None:
        return ModelFiles(name, None, config, _shards(folder, index), index)
    weights = _one_of(folder, [entry for entry in names if entry.endswith(WEIGHTS)], f"{STEM}{WEIGHTS}")
    if weights is None:
        pickles = [entry for entry in names if entry.endswith(PICKLES)]
        if pickles:
            raise ModelError(f"{folder} has only {pickles[0]}, a pickle; only safetensors weights are read", _CONVERT)
        raise ModelError(f"{folder} has no .safetensors weights", f"a .bin, .pt or .ckpt isn't read: {_CONVERT}")
    if _SHARD.fullmatch(weights.name):
        raise ModelError(f"{folder} has the shard {weights.name}, and no index of all shards", "fetch the model again")
    return ModelFiles(name, None, config, (weights,))


def _shards(folder: Path, index: Path) -> tuple[Path, ...]:
    shards = sorted(set(shards_of(index).values()))
    absent = [shard for shard in shards if not (folder / shard).is_file()]
    if absent:
        raise ModelError(f"{index} names the shard {absent[0]}, which isn't in {folder}", "fetch the model again")
    return tuple(folder / shard for shard in shards)


def _one_of(folder: Path, names: Sequence[str], usual: str) -> Path | None:
    """The file of the usual name, else the only one there is. Raises ModelError where the choice would be a guess."""
    if usual in names:
        return folder / usual
    if len(names) > 1:
        raise ModelError(f"{folder} has {len(names)} files of weights: {', '.join(names)}", "give one of them by path")
    return folder / names[0] if names else None
