"""Encoder and decoder of the CogVideoX VAE, and the two jitted steps that run them on one chunk.

Axes: B batch, T time, H height, W width, C channels; t h w are those of latents, z their channels.
A step is a function of its arguments: step(params, chunk, cache) -> (out, cache).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, UInt8

from cogvae_cli.model import sharding, strips
from cogvae_cli.model.chunks import Part
from cogvae_cli.model.config import SPACE, VAEConfig
from cogvae_cli.model.layers import (
    FIXED_EPS,
    CausalConv3d,
    Downsample,
    GroupNorm,
    NormMaker,
    ResnetBlock,
    Rngs,
    SpatialNorm3D,
    Upsample,
)
from cogvae_cli.model.numerics import Numerics

TIME_LEVELS = 2
"""How many levels, from the first of each network, change time as well as space."""

MIDDLE_RESNETS = 2

LOGVAR_RANGE = (-30.0, 20.0)
"""Range that the log-variance is clamped to. Reference: diffusers DiagonalGaussianDistribution."""

Caches = Any
"""Caches of a network or a part of it: a tree of arrays, of one structure after every chunk; None before the first."""


class Level(nnx.Module):
    """The resnets of one resolution, then the resampling that leads to the next, if any.

    Shapes: x [B T H W I] -> [B T' H' W' O].
    Reference: diffusers CogVideoXDownBlock3D, CogVideoXMidBlock3D, CogVideoXUpBlock3D.
    """

    def __init__(self, widths: Sequence[int], *, norm: NormMaker, numerics: Numerics, rngs: Rngs) -> None:
        self.resnets = nnx.List(
            [ResnetBlock(a, b, norm=norm, numerics=numerics, rngs=rngs) for a, b in itertools.pairwise(widths)]
        )
        self.downsamplers: nnx.List[Downsample] = nnx.List([])
        self.upsamplers: nnx.List[Upsample] = nnx.List([])

    def __call__(
        self, x: Float[Array, "B T H W I"], zq: Float[Array, "B t h w z"] | None, caches: Caches
    ) -> tuple[Float[Array, "B P Q R O"], Caches]:
        new = []
        for resnet, cache in zip(self.resnets, caches or [None] * len(self.resnets), strict=True):
            x, cache = resnet(x, zq, cache)
            new.append(cache)
        for resample in (*self.downsamplers, *self.upsamplers):
            x = resample(x)
        return x, tuple(new)


class Encoder(nnx.Module):
    """Frames of one chunk to the moments of their latents. Both may be in strips.

    Shapes: [B T H W 3] -> [B ceil(T/4) H/8 W/8 2z]: means, then log-variances, unclamped.
    Reference: diffusers CogVideoXEncoder3D.
    """

    def __init__(self, config: VAEConfig, numerics: Numerics, rngs: Rngs) -> None:
        widths = config.block_out_channels
        make = functools.partial(GroupNorm, groups=config.norm_num_groups, numerics=numerics)
        level = functools.partial(
            Level, norm=functools.partial(make, eps=config.norm_eps), numerics=numerics, rngs=rngs
        )
        self.conv_in = CausalConv3d(config.in_channels, widths[0], numerics=numerics, rngs=rngs)
        self.down_blocks: nnx.List[Level] = nnx.List([])
        before = widths[0]
        for index, width in enumerate(widths):
            block = level([before] + [width] * config.layers_per_block)
            if index < len(widths) - 1:
                block.downsamplers.append(Downsample(width, time=index < TIME_LEVELS, numerics=numerics, rngs=rngs))
            self.down_blocks.append(block)
            before = width
        self.mid_block = level([before] * (MIDDLE_RESNETS + 1))
        self.norm_out = make(before, eps=FIXED_EPS)
        self.conv_out = CausalConv3d(before, 2 * config.latent_channels, numerics=numerics, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W 3"], caches: Caches) -> tuple[Float[Array, "B t H/8 W/8 m"], Caches]:
        old = caches or {}
        new = {}
        x, new["conv_in"] = self.conv_in(x, old.get("conv_in"))
        for index, block in enumerate(self.down_blocks):
            x, new[f"down_{index}"] = block(x, None, old.get(f"down_{index}"))
        x, new["mid"] = self.mid_block(x, None, old.get("mid"))
        x, new["conv_out"] = self.conv_out(jax.nn.silu(self.norm_out(x)), old.get("conv_out"))
        return x, new


class Decoder(nnx.Module):
    """Latents of one chunk to frames; the latents also steer every norm on the way. Both may be in strips.

    Shapes: [B t h w z] -> [B T 8h 8w 3], T = 4(t-1)+1 for odd t, 4t for even t. Not clamped to [-1, 1].
    Reference: diffusers CogVideoXDecoder3D.
    """

    def __init__(self, config: VAEConfig, numerics: Numerics, rngs: Rngs) -> None:
        widths = config.block_out_channels[::-1]
        z = config.latent_channels
        norm = functools.partial(
            SpatialNorm3D, z_channels=z, groups=config.norm_num_groups, numerics=numerics, rngs=rngs
        )
        level = functools.partial(Level, norm=norm, numerics=numerics, rngs=rngs)
        self.conv_in = CausalConv3d(z, widths[0], numerics=numerics, rngs=rngs)
        self.mid_block = level([widths[0]] * (MIDDLE_RESNETS + 1))
        self.up_blocks: nnx.List[Level] = nnx.List([])
        before = widths[0]
        for index, width in enumerate(widths):
            block = level([before] + [width] * (config.layers_per_block + 1))
            if index < len(widths) - 1:
                block.upsamplers.append(Upsample(width, time=index < TIME_LEVELS, numerics=numerics, rngs=rngs))
            self.up_blocks.append(block)
            before = width
        self.norm_out = norm(before)
        self.conv_out = CausalConv3d(before, config.out_channels, numerics=numerics, rngs=rngs)

    def __call__(self, z: Float[Array, "B t h w z"], caches: Caches) -> tuple[Float[Array, "B T 8*h 8*w 3"], Caches]:
        old = caches or {}
        new = {}
        x, new["conv_in"] = self.conv_in(z, old.get("conv_in"))
        x, new["mid"] = self.mid_block(x, z, old.get("mid"))
        for index, block in enumerate(self.up_blocks):
            x, new[f"up_{index}"] = block(x, z, old.get(f"up_{index}"))
        x, new["conv_out"] = self.conv_out(jax.nn.silu(self.norm_out(x, z)), old.get("conv_out"))
        return x, new


@dataclasses.dataclass(frozen=True)
class Network:
    """Which network a step runs and how it computes: all that a compiled program depends on but shapes."""

    config: VAEConfig
    part: Part
    numerics: Numerics
    mesh: Mesh | None = None
    """The chips that compute together; None is one."""

    def in_strips(self, height: int) -> Network:
        """The same network for frames of that height in pixels, cut into the strips that a TPU wants."""
        rows, chips = height // SPACE, sharding.chips_down(self.mesh)
        count = strips.for_encoding(rows, chips) if self.part == "encoder" else strips.for_decoding(rows)
        return dataclasses.replace(self, numerics=dataclasses.replace(self.numerics, strips=count))

    def build(self, rngs: Rngs) -> Encoder | Decoder:
        """A module with random parameters; with constant ones where no `rngs` are given."""
        make = Encoder if self.part == "encoder" else Decoder
        return make(self.config, self.numerics, rngs)

    def structure(self) -> nnx.GraphDef[Any]:
        return _abstract(self)[0]

    def shapes(self) -> nnx.State[Any, Any]:
        """The parameters as shapes and dtypes, without memory."""
        return _abstract(self)[1]


@functools.cache
def _abstract(network: Network) -> tuple[nnx.GraphDef[Any], nnx.State[Any, Any]]:
    module = nnx.eval_shape(lambda: network.build(None))
    graph, state = nnx.split(module)
    return graph, state


class EncodedChunk(NamedTuple):
    """What the encoder says of one chunk, in float32."""

    mean: Float[Array, "B t h w z"]
    logvar: Float[Array, "B t h w z"]
    finite: Bool[Array, "B t"]
    """False for a latent frame that holds NaN or Inf."""


class DecodedChunk(NamedTuple):
    """What the decoder says of one chunk: uint8 pixels, or float32 values that aren't clamped."""

    frames: Float[Array, "B T H W 3"] | UInt8[Array, "B T H W 3"]
    finite: Bool[Array, "B T"]
    """False for a frame that held NaN or Inf before rounding."""


UNIT = np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)
"""What each level is in [-1, 1]."""


def to_unit(pixels: UInt8[Array, "B T H W 3"]) -> Float[Array, "B T H W 3"]:
    """0..255 to [-1, 1]. On CPU to the bit what NumPy makes of `pixels / 127.5 - 1` in float32.

    XLA multiplies with the inverse instead of dividing, an error that the network makes ten times as large; so levels
    are looked up there. A TPU looks up slowly.
    """
    units: jax.Array = jax.lax.platform_dependent(
        pixels,
        cpu=lambda pixels: jnp.asarray(UNIT)[pixels],
        default=lambda pixels: pixels.astype(jnp.float32) / 127.5 - 1.0,
    )
    return units


@jax.jit
def to_pixels(values: Float[Array, "B T H W 3"]) -> UInt8[Array, "B T H W 3"]:
    """[-1, 1] to 0..255, rounded to the nearest and clipped."""
    return jnp.round(jnp.clip((values + 1.0) * 127.5, 0.0, 255.0)).astype(jnp.uint8)


@jax.jit
def clamp_logvar(logvar: Float[Array, "B t h w z"]) -> Float[Array, "B t h w z"]:
    """The log-variance within the range that upstream allows."""
    return jnp.clip(logvar, *LOGVAR_RANGE)


@functools.partial(jax.jit, static_argnames=("network", "clamp"), donate_argnames=("caches",))
def encode_step(
    params: nnx.State[Any, Any],
    frames: Float[Array, "B T H W 3"] | UInt8[Array, "B T H W 3"],
    caches: Caches,
    *,
    network: Network,
    clamp: bool = True,
) -> tuple[EncodedChunk, Caches]:
    """Encodes one chunk: uint8 pixels, or values in [-1, 1]. `caches` is consumed.

    Tiles are blended before their log-variance is clamped, so they ask for it as it is.
    """
    return sharding.by_clip(functools.partial(_encode, network, clamp), network.mesh)(params, frames, caches)


def _encode(
    network: Network, clamp: bool, params: nnx.State[Any, Any], frames: jax.Array, caches: Caches
) -> tuple[EncodedChunk, Caches]:
    if frames.dtype == jnp.uint8:
        frames = to_unit(frames)
    encoder = nnx.merge(network.structure(), params)
    cut = network.numerics.strips
    pieces = sharding.constrain(strips.cut(frames.astype(network.numerics.array_dtype), cut), network.mesh)
    moments, caches = encoder(pieces, caches)
    caches = sharding.constrain(caches, network.mesh)
    moments = strips.join(moments.astype(jnp.float32), cut)
    mean, logvar = jnp.split(moments, 2, axis=-1)
    finite = jnp.isfinite(moments).all(axis=(2, 3, 4))
    return EncodedChunk(mean, clamp_logvar(logvar) if clamp else logvar, finite), caches


@functools.partial(jax.jit, static_argnames=("network", "pixels"), donate_argnames=("caches",))
def decode_step(
    params: nnx.State[Any, Any],
    latents: Float[Array, "B t h w z"],
    caches: Caches,
    *,
    network: Network,
    pixels: bool,
) -> tuple[DecodedChunk, Caches]:
    """Decodes one chunk of unscaled latents, to uint8 pixels or to float32 values. `caches` is consumed."""
    return sharding.by_clip(functools.partial(_decode, network, pixels), network.mesh)(params, latents, caches)


def _decode(
    network: Network, pixels: bool, params: nnx.State[Any, Any], latents: jax.Array, caches: Caches
) -> tuple[DecodedChunk, Caches]:
    decoder = nnx.merge(network.structure(), params)
    cut = network.numerics.strips
    pieces = sharding.constrain(strips.cut(latents.astype(network.numerics.array_dtype), cut), network.mesh)
    values, caches = decoder(pieces, caches)
    caches = sharding.constrain(caches, network.mesh)
    values = strips.join(values, cut).astype(jnp.float32)
    finite = jnp.isfinite(values).all(axis=(2, 3, 4))
    return DecodedChunk(to_pixels(values) if pixels else values, finite), caches
