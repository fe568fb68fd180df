"""A model's config and tensors from its files, and the identity of its numbers. safetensors only: no pickle is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes  # noqa: F401  numpy learns bfloat16 from it
import numpy as np
from safetensors import SafetensorError, safe_open

from cogvae_cli.errors import ModelError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.json_fields import Fields, MalformedError, parse_json, shown
from cogvae_cli.io.safetensors_file import read_layout
from cogvae_cli.model.config import ModelSource, VAEConfig

_JSON = 4 * 2**20
"""Longest config, index or safetensors header that is read, in bytes; those of a CogVideoX VAE have under 100 kB."""

_REFETCH = "only safetensors weights are read; fetch the file again, or convert it with diffusers"
_NAMED = 3  # keys that an error names before it counts


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model on this machine, and where they came from."""

    name: str
    """`tiny`, a preset, a Hub id, or the last part of a local path."""
    revision: str | None
    """Commit on the Hub; None for local files."""
    config: Path
    weights: tuple[Path, ...]
    index: Path | None = None
    """The index that says which shard holds which tensor, where the weights are split."""
    hashes: tuple[tuple[str, str], ...] = ()
    """(file name, sha256) of weights that were hashed already."""


def read_config(files: ModelFiles) -> VAEConfig:
    """The network's config. Raises ModelError for what upstream can't run or isn't this VAE."""
    return VAEConfig.from_diffusers(read_object(files.config), str(files.config))


def read_object(path: Path) -> dict[str, object]:
    """A JSON object in a small file. Raises ModelError."""
    try:
        with path.open("rb") as file:
            raw = file.read(_JSON + 1)
        if len(raw) > _JSON:
            raise MalformedError(f"has more than {_JSON} bytes, too long for a model's config or index")
        value = parse_json(raw.decode("utf-8"), "it")
        if not isinstance(value, dict):
            raise MalformedError(f"holds {shown(value)}, not an object")
    except UnicodeDecodeError:
        raise ModelError(f"{path} is no UTF-8 text") from None
    except MalformedError as error:
        raise ModelError(f"{path}: {error}") from error
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
    return value


def shards_of(index: Path) -> dict[str, str]:
    """The index's map from tensor to shard. Raises ModelError for a shard that is no file name in the same folder."""
    try:
        shards = Fields(read_object(index), "it").texts("weight_map")
    except MalformedError as error:
        raise ModelError(f"{index}: {error}") from error
    if not shards:
        raise ModelError(f"{index} names no tensors")
    for shard in sorted(set(shards.values())):
        if not shard.endswith(".safetensors") or any(part in shard for part in ("/", "\\", "\0")):
            raise ModelError(f"{index} names the shard {shown(shard)}, which is no .safetensors file beside it")
    return shards


def read_tensors(files: ModelFiles) -> dict[str, np.ndarray]:
    """All tensors in the dtype they are stored in, by torch's names.

    Raises ModelError for a file that is missing, truncated, damaged or no safetensors, a dtype other than F32, F16 and
    BF16, a tensor in two shards, and shards that don't hold what the index says.
    """
    tensors: dict[str, np.ndarray] = {}
    homes: dict[str, str] = {}
    for path in files.weights:
        found = _read_file(path)
        _check_disjoint(found, homes, path)
        tensors |= found
        homes |= dict.fromkeys(found, path.name)
    if files.index is not None:
        _check_index(files.index, homes)
    return tensors


def check_whole(files: ModelFiles) -> None:
    """Reads the headers only. Raises ModelError for a file that isn't whole, and shards that don't fit their index."""
    homes: dict[str, str] = {}
    for path in files.weights:
        found = _read_keys(path)
        _check_disjoint(found, homes, path)
        homes |= dict.fromkeys(found, path.name)
    if files.index is not None:
        _check_index(files.index, homes)


def _read_keys(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            return list(read_layout(file, _JSON).tensors)
    except MalformedError as error:
        raise ModelError(f"{path} {error}", _REFETCH) from error
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error


def _check_disjoint(found: Iterable[str], homes: Mapping[str, str], path: Path) -> None:
    twice = sorted(set(found) & set(homes))
    if twice:
        raise ModelError(f"{_some(twice)} in both {homes[twice[0]]} and {path.name}")


def _read_file(path: Path) -> dict[str, np.ndarray]:
    """One file's tensors, after its header was checked within bounds."""
    try:
        with path.open("rb") as file:
            read_layout(file, _JSON)
        with safe_open(path, framework="np") as handle:
            return {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118  not a dict
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing") from error
    except MalformedError as error:
        raise ModelError(f"{path} {error}", _REFETCH) from error
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} can't be read: {str(error).splitlines()[0]}") from error


def _check_index(index: Path, homes: Mapping[str, str]) -> None:
    shards = shards_of(index)
    absent = sorted(key for key, shard in shards.items() if homes.get(key) != shard)
    if absent:
        raise ModelError(f"{index} places {_some(absent)} in {shards[absent[0]]}, which doesn't hold it")
    unnamed = sorted(set(homes) - set(shards))
    if unnamed:
        raise ModelError(f"{homes[unnamed[0]]} holds {_some(unnamed)}, which {index} doesn't name")


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(shown(key) for key in keys[:_NAMED]) + more


def file_hashes(files: ModelFiles) -> tuple[tuple[str, str], ...]:
    """(file name, sha256) of the config and each file of weights, sorted by name."""
    known = dict(files.hashes)
    paths = (files.config, *files.weights)
    return tuple(sorted((path.name, known.get(path.name) or sha256_of(path)) for path in paths))


def identity(tensors: Mapping[str, np.ndarray]) -> str:
    """sha256 of the numbers of a model: equal for equal numbers, however they are stored.

    Hashed are, for each tensor in the order of its key's UTF-8 bytes:
    the key's length in bytes as uint32, the key in UTF-8, the number of axes as uint32, each axis' length as uint64,
    and the values as float32 in C order. All numbers are little-endian; shapes are torch's.
    float16 and bfloat16 become float32 exactly. One tensor at a time is held as float32.
    """
    sha = hashlib.sha256()
    for key in _by_bytes(tensors):
        name, values = key.encode("utf-8"), np.asarray(tensors[key])
        sha.update(np.uint32(len(name)).astype("<u4").tobytes() + name)
        sha.update(np.uint32(values.ndim).astype("<u4").tobytes() + np.array(values.shape, "<u8").tobytes())
        sha.update(np.ascontiguousarray(values, "<f4").tobytes())
    return sha.hexdigest()


def _by_bytes(keys: Iterable[str]) -> list[str]:
    return sorted(keys, key=lambda key: key.encode("utf-8"))


def source_of(files: ModelFiles, tensors: Mapping[str, np.ndarray]) -> ModelSource:
    """What a latents file says about the model that made it."""
    return ModelSource(files.name, files.revision, identity(tensors), file_hashes(files))
