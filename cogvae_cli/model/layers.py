"""The layers of the network, each with its streaming state where it has one.

Axes: B batch, T time, H height, W width, C channels; t h w are those of the latents that condition the decoder.
Where frames are cut into strips (see `strips`), these stand in the batch, and H is the rows of one.
A cache is a value: it goes in with a chunk and comes out for the next one; None starts a stream.
Module and parameter names are those of diffusers, so a path here is a key there.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from cogvae_cli.model import convolution
from cogvae_cli.model.numerics import STATISTICS, Numerics

HISTORY = 2
"""Frames of the past that a kernel of three needs."""

FIXED_EPS = 1e-6
"""Epsilon of every norm that upstream's `norm_eps` doesn't reach."""

Cache = Float[Array, "B 2 H W C"] | None

Rngs = nnx.Rngs | None
"""Where random parameters come from; None: zeros, of which `eval_shape` takes the shapes in less time."""


class Conv(nnx.Module):
    """Kernel and bias of a convolution: weight [T H W I O] or [H W I O], bias [O]."""

    def __init__(self, shape: tuple[int, ...], *, numerics: Numerics, rngs: Rngs) -> None:
        self.precision = numerics.lax_precision
        self.strips = numerics.strips
        self.weight = nnx.Param(_kernel(shape, numerics.array_dtype, rngs))
        self.bias = nnx.Param(jnp.zeros(shape[-1:], numerics.array_dtype))

    def add_bias(self, y: Float[Array, "*axes O"]) -> Float[Array, "*axes O"]:
        """The bias added to every pixel."""
        return y + jnp.expand_dims(self.bias[...], range(y.ndim - 1))


def _kernel(shape: tuple[int, ...], dtype: jnp.dtype, rngs: Rngs) -> jax.Array:
    if rngs is None:
        return jnp.zeros(shape, dtype)
    return nnx.initializers.lecun_normal()(rngs.params(), shape, dtype)


class Pointwise(Conv):
    """1x1x1 convolution: a product over channels. It sees no other frame, so it has no cache."""

    def __init__(self, c_in: int, c_out: int, *, numerics: Numerics, rngs: Rngs) -> None:
        super().__init__((1, 1, 1, c_in, c_out), numerics=numerics, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W I"]) -> Float[Array, "B T H W O"]:
        return self.add_bias(jnp.einsum("bthwi,io->bthwo", x, self.weight[0, 0, 0], precision=self.precision))


class CausalConv3d(nnx.Module):
    """3x3x3 convolution that sees only the past along time.

    Streaming: conv(x[:n]) followed by conv(x[n:], cache) equals conv(x).
    The first chunk is preceded by its own first frame, twice; a later one by the last two frames before it.
    Shapes: x [B T H W I] -> [B T H W O]; cache [B 2 H W I].
    Reference: diffusers CogVideoXCausalConv3d.
    """

    def __init__(self, c_in: int, c_out: int, *, numerics: Numerics, rngs: Rngs) -> None:
        self.conv = Conv((3, 3, 3, c_in, c_out), numerics=numerics, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B T H W I"], cache: Cache
    ) -> tuple[Float[Array, "B T H W O"], Float[Array, "B 2 H W I"]]:
        if cache is None:
            cache = jnp.concatenate([x[:, :1], x[:, :1]], axis=1)
        x = jnp.concatenate([cache, x], axis=1)  # [B 2+T H W I]
        y = convolution.conv3d(x, self.conv.weight[...], precision=self.conv.precision, strips=self.conv.strips)
        # Of the padded frames, so that a chunk of one frame leaves two.
        return self.conv.add_bias(y), x[:, -HISTORY:]


class PointwiseCausalConv3d(nnx.Module):
    """The 1x1x1 case of a causal convolution, under the name that upstream gives its parameters."""

    def __init__(self, c_in: int, c_out: int, *, numerics: Numerics, rngs: Rngs) -> None:
        self.conv = Pointwise(c_in, c_out, numerics=numerics, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W I"]) -> Float[Array, "B T H W O"]:
        return self.conv(x)


class GroupNorm(nnx.Module):
    """Normalises groups of channels over all frames and pixels of the chunk.

    Statistics in float32 and in two passes: the mean, then the mean square of what differs from it.
    The channel axis of the big array is never split (a TPU would have to lay it out anew): sums are taken by channel,
    and only those few numbers are grouped.
    Shapes: [B T H W C] -> [B T H W C].
    Reference: torch.nn.GroupNorm (Wu and He 2018).
    """

    def __init__(self, channels: int, groups: int, *, eps: float, numerics: Numerics) -> None:
        self.groups = groups
        self.eps = eps
        self.strips = numerics.strips
        self.weight = nnx.Param(jnp.ones((channels,), numerics.array_dtype))
        self.bias = nnx.Param(jnp.zeros((channels,), numerics.array_dtype))

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B T H W C"]:
        mean, gain = self.statistics(x)
        return (x.astype(STATISTICS) * gain + (self.shift - mean * gain)).astype(x.dtype)

    def statistics(self, x: Float[Array, "B T H W C"]) -> tuple[Float[Array, "B 1 1 1 C"], Float[Array, "B 1 1 1 C"]]:
        """The mean of x in each group, and what to multiply with (weight over deviation); both float32.

        The norm is x * gain + (shift - mean * gain): nothing of the big array's size but the result is ever stored.
        """
        x = x.astype(STATISTICS)
        mean = self._mean_of_groups(x)
        variance = self._mean_of_groups(jnp.square(x - mean))
        return mean, jax.lax.rsqrt(variance + self.eps) * _by_channel(self.weight)

    @property
    def shift(self) -> Float[Array, "1 1 1 1 C"]:
        return _by_channel(self.bias)

    def _mean_of_groups(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B 1 1 1 C"]:
        by_channel = jnp.mean(x, axis=(1, 2, 3))  # [B C]
        channels = by_channel.shape[1]
        by_channel = jnp.mean(by_channel.reshape(self.strips, -1, channels), axis=0)  # strips are of one size
        batch = by_channel.shape[0]
        by_group = jnp.mean(by_channel.reshape(batch, self.groups, -1), axis=2, keepdims=True)
        members = jnp.broadcast_to(by_group, (batch, self.groups, channels // self.groups))
        return jnp.tile(members.reshape(batch, 1, 1, 1, channels), (self.strips, 1, 1, 1, 1))


def _by_channel(param: nnx.Param[jax.Array]) -> Float[Array, "1 1 1 1 C"]:
    return param[...].astype(STATISTICS).reshape(1, 1, 1, 1, -1)


class SpatialNorm3D(nnx.Module):
    """Group norm whose gain and shift follow the latents, upsampled to the size of what is normalised.

    Computes norm(f) * conv_y(zq) + conv_b(zq). The 1x1x1 convolutions run at the latents' size and the norm's own
    affine is folded into them there; repeating pixels afterwards gives the same numbers for far less work.
    Shapes: f [B T H W C], zq [B t h w z] -> [B T H W C].
    Reference: diffusers CogVideoXSpatialNorm3D (MoVQ, Zheng et al. 2022).
    """

    def __init__(self, channels: int, z_channels: int, groups: int, *, numerics: Numerics, rngs: Rngs) -> None:
        self.norm_layer = GroupNorm(channels, groups, eps=FIXED_EPS, numerics=numerics)
        self.conv_y = PointwiseCausalConv3d(z_channels, channels, numerics=numerics, rngs=rngs)
        self.conv_b = PointwiseCausalConv3d(z_channels, channels, numerics=numerics, rngs=rngs)

    def __call__(self, f: Float[Array, "B T H W C"], zq: Float[Array, "B t h w z"]) -> Float[Array, "B T H W C"]:
        mean, gain = self.norm_layer.statistics(f)
        y = self.conv_y(zq).astype(STATISTICS)
        b = self.conv_b(zq).astype(STATISTICS)
        _, frames, height, width, _ = f.shape
        scale = gain * y
        shift = self.norm_layer.shift * y + b - mean * scale
        if zq.shape[2] == 1:  # one row of latents is left as it is: it stands for all rows by broadcasting
            height = 1
        size = (frames, height, width)
        return (f.astype(STATISTICS) * repeat_to(scale, size) + repeat_to(shift, size)).astype(f.dtype)


def repeat_to(z: Float[Array, "B t h w C"], size: tuple[int, int, int]) -> Float[Array, "B T H W C"]:
    """Nearest-neighbour upsampling to [T H W] by whole factors; for odd T > 1 frame 0 stands for itself alone."""
    frames, height, width = size
    if frames > 1 and frames % 2 == 1:
        # In time first: what is concatenated is stored, and so would be what is repeated in space before it.
        rest = _repeat(z[:, 1:], (frames - 1, z.shape[2], z.shape[3]))
        z = jnp.concatenate([z[:, :1], rest], axis=1)
    return _repeat(z, (frames, height, width))


def _repeat(z: jax.Array, size: tuple[int, int, int]) -> jax.Array:
    batch, t, h, w, channels = z.shape
    factors = [big // small for big, small in zip(size, (t, h, w), strict=True)]
    z = z.reshape(batch, t, 1, h, 1, w, 1, channels)
    z = jnp.broadcast_to(z, (batch, t, factors[0], h, factors[1], w, factors[2], channels))
    return z.reshape(batch, *size, channels)


Norm = GroupNorm | SpatialNorm3D


class Downsample(nnx.Module):
    """Halves height and width, and time too where told: pairs of frames are averaged, frame 0 of an odd count stays.

    Shapes: [B T H W C] -> [B T' H/2 W/2 C], T' = ceil(T/2) or T.
    Reference: diffusers CogVideoXDownsample3D.
    """

    def __init__(self, channels: int, *, time: bool, numerics: Numerics, rngs: Rngs) -> None:
        self.time = time
        self.conv = Conv((3, 3, channels, channels), numerics=numerics, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B P H/2 W/2 C"]:
        if self.time and x.shape[1] > 1:
            x = _average_pairs(x)
        y = convolution.halving_conv(x, self.conv.weight[...], precision=self.conv.precision, strips=self.conv.strips)
        return self.conv.add_bias(y)


def _average_pairs(x: Float[Array, "B T H W C"]) -> Float[Array, "B P H W C"]:
    single = x.shape[1] % 2
    first, rest = x[:, :single], x[:, single:]
    rest = (rest[:, 0::2] + rest[:, 1::2]) * 0.5
    return jnp.concatenate([first, rest], axis=1) if single else rest


class Upsample(nnx.Module):
    """Doubles height and width, and time too where told; frame 0 of an odd count doubles in space only.

    Time is doubled after the convolution, which sees single frames: the same numbers for half the work.
    Shapes: [B T H W C] -> [B T' 2H 2W C], T' = 2T for even T, 2T-1 for odd, or T.
    Reference: diffusers CogVideoXUpsample3D.
    """

    def __init__(self, channels: int, *, time: bool, numerics: Numerics, rngs: Rngs) -> None:
        self.time = time
        self.conv = Conv((3, 3, channels, channels), numerics=numerics, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B P 2*H 2*W C"]:
        y = convolution.doubling_conv(x, self.conv.weight[...], precision=self.conv.precision, strips=self.conv.strips)
        y = self.conv.add_bias(y)
        if not self.time:
            return y
        frames, height, width = y.shape[1:4]
        return repeat_to(y, (2 * frames - frames % 2, height, width))


ResnetCache = tuple[Float[Array, "B 2 H W _"] | None, Float[Array, "B 2 H W _"] | None] | None

NormMaker = Callable[[int], Norm]
"""Makes the norm for a number of channels: the encoder's or the decoder's kind."""


class ResnetBlock(nnx.Module):
    """Two causal convolutions, each after a norm and SiLU, beside a shortcut.

    With latents `zq` the norms are spatial (decoder), without them plain (encoder).
    Shapes: x [B T H W I] -> [B T H W O]; cache: that of each convolution.
    Reference: diffusers CogVideoXResnetBlock3D, without time embedding and dropout, which no released model has.
    """

    def __init__(self, c_in: int, c_out: int, *, norm: NormMaker, numerics: Numerics, rngs: Rngs) -> None:
        self.norm1 = norm(c_in)
        self.conv1 = CausalConv3d(c_in, c_out, numerics=numerics, rngs=rngs)
        self.norm2 = norm(c_out)
        self.conv2 = CausalConv3d(c_out, c_out, numerics=numerics, rngs=rngs)
        self.conv_shortcut = Pointwise(c_in, c_out, numerics=numerics, rngs=rngs) if c_in != c_out else None

    def __call__(
        self, x: Float[Array, "B T H W I"], zq: Float[Array, "B t h w z"] | None, cache: ResnetCache
    ) -> tuple[Float[Array, "B T H W O"], ResnetCache]:
        cache1, cache2 = cache or (None, None)
        y, cache1 = self.conv1(jax.nn.silu(normalise(self.norm1, x, zq)), cache1)
        y, cache2 = self.conv2(jax.nn.silu(normalise(self.norm2, y, zq)), cache2)
        if self.conv_shortcut is not None:
            x = self.conv_shortcut(x)
        return x + y, (cache1, cache2)


def normalise(
    norm: Norm, x: Float[Array, "B T H W C"], zq: Float[Array, "B t h w z"] | None
) -> Float[Array, "B T H W C"]:
    """Applies either kind of norm: the spatial one takes the latents too."""
    if isinstance(norm, GroupNorm):
        return norm(x)
    if zq is None:
        raise TypeError("a spatial norm needs the latents")
    return norm(x, zq)
