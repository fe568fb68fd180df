"""What every layer of a network gives, without a layer knowing of it.

Axes: B batch, T time, H height, W width, C channels.
In the program that `trace_step` compiles each module stands as an instance of a subclass of its own class, which notes
what it gives. The layers compute as ever; the program only has more results.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from cogvae_cli.model.layers import (
    CausalConv3d,
    Downsample,
    GroupNorm,
    Pointwise,
    PointwiseCausalConv3d,
    ResnetBlock,
    SpatialNorm3D,
    Upsample,
)
from cogvae_cli.model.vae import Caches, Decoder, Encoder, Level, Network

LAYERS = (
    CausalConv3d,
    Downsample,
    GroupNorm,
    Level,
    Pointwise,
    PointwiseCausalConv3d,
    ResnetBlock,
    SpatialNorm3D,
    Upsample,
)
"""What counts as a layer: all that gives an array, but the convolution within a causal one, which gives the same."""

_INNER = ".conv"

_NOTE = "_note"
"""Where a watched module keeps the function that it tells what it gives."""

Layers = dict[str, Float[Array, "B _ _ _ _"]]


def layer_names(network: Network) -> tuple[str, ...]:
    """The path of every layer, as diffusers names it: `decoder.up_blocks.0.resnets.1.norm1.conv_y`."""
    return tuple(_layers(network, nnx.merge(network.structure(), network.shapes())))


@functools.partial(jax.jit, static_argnames=("network",))
def trace_step(
    params: nnx.State[Any, Any], chunk: Float[Array, "B T H W C"], caches: Caches, *, network: Network
) -> tuple[Layers, Caches]:
    """Runs one chunk of frames in [-1, 1], or of unscaled latents, and gives every layer's output in float32 by path.

    Two layers of the decoder's norms are special. `conv_y` and `conv_b` run at the latents' size, so that is theirs.
    `norm_layer` never exists by itself: its affine is folded into `conv_y`, and here it is applied for the trace only.
    """
    module = nnx.merge(network.structure(), params)
    found: Layers = {}
    for name, layer in _layers(network, module).items():
        _watch(layer, functools.partial(found.__setitem__, name))
    _, caches = module(chunk.astype(network.numerics.array_dtype), caches)
    return {name: output.astype(jnp.float32) for name, output in found.items()}, caches


def _layers(network: Network, module: Encoder | Decoder) -> dict[str, nnx.Module]:
    found: dict[str, nnx.Module] = {}
    for path, layer in nnx.iter_modules(module):
        name = ".".join(map(str, (network.part, *path)))
        if isinstance(layer, LAYERS) and not name.endswith(_INNER):
            found[name] = layer
    return found


def _watch(layer: nnx.Module, note: Callable[[jax.Array], None]) -> None:
    # Past nnx's own __setattr__, for neither is part of the module's state; the module ends with the trace.
    object.__setattr__(layer, _NOTE, note)
    object.__setattr__(layer, "__class__", _watched(type(layer)))


@functools.cache
def _watched(kind: Any) -> Any:
    """A subclass of a layer's class that notes what it gives; one for each kind, so that none piles up."""

    def call(self: Any, *inputs: Any) -> Any:  # each kind of layer takes other inputs; they are passed on untouched
        result = kind.__call__(self, *inputs)
        vars(self)[_NOTE](result[0] if isinstance(result, tuple) else result)
        return result

    def statistics(self: Any, x: Any) -> Any:
        mean, gain = kind.statistics(self, x)
        vars(self)[_NOTE](x.astype(gain.dtype) * gain + (self.shift - mean * gain))
        return mean, gain

    # Of its norm_layer a spatial norm calls `statistics` alone; a plain norm's own call notes its result after it.
    members = {"__call__": call} | ({"statistics": statistics} if issubclass(kind, GroupNorm) else {})
    return type(kind)(f"Watched{kind.__name__}", (kind,), members)
