"""Between a flat dict of numpy arrays in torch's layout and the parameters of our networks. No file is opened here.

Paths in our modules are keys of diffusers, so only axes change: kernels [O I T H W] <-> [T H W I O] and
[O I H W] <-> [H W I O].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import nnx

from cogvae_cli.errors import ModelError
from cogvae_cli.model.chunks import Part
from cogvae_cli.model.config import VAEConfig
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.vae import Network

PARTS: tuple[Part, Part] = ("encoder", "decoder")

Tensors = Mapping[str, np.ndarray]

_SHOWN = 8
"""Names listed of each kind of mismatch before the rest is only counted."""


def torch_shapes(config: VAEConfig) -> dict[str, tuple[int, ...]]:
    """Every key that a VAE of this config has, with its shape in torch's layout, encoder first."""
    return {
        _key(part, path): _torch_shape(leaf.shape)
        for part in PARTS
        for path, leaf in nnx.to_flat_state(Network(config, part, Numerics()).shapes())
    }


def check(config: VAEConfig, tensors: Tensors) -> None:
    """Raises one ModelError that lists all that is missing, left over or of another shape."""
    expected = torch_shapes(config)
    missing = sorted(expected.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - expected.keys())
    wrong = [
        f"{key} is {list(tensors[key].shape)} instead of {list(shape)}"
        for key, shape in sorted(expected.items())
        if key in tensors and tensors[key].shape != shape
    ]
    parts = [
        _list("missing", missing),
        _list("not part of this VAE", unknown),
        _list("of another shape", wrong),
    ]
    problems = "; ".join(part for part in parts if part)
    if problems:
        raise ModelError(
            f"the weights do not fit the config: {problems}",
            "give the whole vae/ folder: config.json and the weights that belong to it",
        )


def _list(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:_SHOWN])}{more})"


def to_params(network: Network, tensors: Tensors) -> nnx.State[Any, Any]:
    """The parameters of one network, as numpy arrays in the compute dtype. `tensors` has passed `check`."""
    dtype = network.numerics.array_dtype
    leaves = []
    for path, leaf in nnx.to_flat_state(network.shapes()):
        array = _from_torch(tensors[_key(network.part, path)])
        leaves.append((path, leaf.replace(np.ascontiguousarray(array, dtype=dtype))))
    return nnx.from_flat_state(leaves)


def to_tensors(params: Mapping[Part, nnx.State[Any, Any]]) -> dict[str, np.ndarray]:
    """The reverse: a flat dict in torch's layout, as diffusers' file holds it."""
    return {
        _key(part, path): _to_torch(np.asarray(leaf.get_value()))
        for part, state in params.items()
        for path, leaf in nnx.to_flat_state(state)
    }


def _key(part: Part, path: Iterable[Any]) -> str:
    return ".".join(map(str, (part, *path)))


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape if len(shape) == 1 else (shape[-1], shape[-2], *shape[:-2])


def _to_torch(array: np.ndarray) -> np.ndarray:
    if array.ndim == 1:
        return array
    axes = range(array.ndim)
    return np.ascontiguousarray(array.transpose(axes[-1], axes[-2], *axes[:-2]))


def _from_torch(array: np.ndarray) -> np.ndarray:
    if array.ndim == 1:
        return array
    axes = range(array.ndim)
    return array.transpose(*axes[2:], 1, 0)
