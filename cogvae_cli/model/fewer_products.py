"""The 3x3x3 convolution from sums and differences of its inputs: 12 products where the plain sum has 27.

Along time and along width, two outputs in a row of a kernel of three take four products instead of six. Its
rounding errors are 1.0 to 1.6 times those of the plain sum, by processor. Along height nothing is combined: that
is left to 2-D convolutions with kernels of one column.
Axes: B batch, T time, H height, W width, w pairs of columns, I and O channels in and out.
Reference: Lavin and Gray 2016, F(2, 3), after Winograd 1980.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


_AT_ONCE = 4
"""Output frames whose combined inputs are held at a time; even."""


def conv3d(
    x: Float[Array, "B S H W I"], kernel: Float[Array, "3 3 3 I O"], *, precision: lax.Precision
) -> Float[Array, "B T H W O"]:
    """S frames in, T = S-2 out; zeros outside in space, nothing added in time. W is even."""
    frames = x.shape[1] - 2
    kernel = _after(x, kernel)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1), (0, 0)))
    taps = _split(kernel, axis=2)  # [3 3 4 I O]
    in_pairs = frames // 2 * 2
    y = None
    for first in range(0, in_pairs, _AT_ONCE):
        count = min(_AT_ONCE, in_pairs - first)
        combined = _combined(x, first, count + 2, after=y)
        if y is None:
            # All of it is written over. Filled with a value of x and not with zeros, for zeros need no x: XLA would
            # make those of all layers before the first one, and keep them.
            batch, _, height, width, _ = x.shape
            y = jnp.broadcast_to(combined[0, 0, 0, 0, 0, 0], (batch, in_pairs, height, width - 2, kernel.shape[-1]))
        y = _pairs(combined, _split(taps, axis=0), y, first, precision)
    if y is not None and in_pairs == frames:
        return y
    last = _last(_combined(x, frames - 1, 3, after=y), taps, precision)[:, None]
    return last if y is None else jnp.concatenate([y, last], axis=1)


def _combined(
    x: Float[Array, "B S H W I"], first: int, count: int, *, after: jax.Array | None
) -> Float[Array, "4 B F H w I"]:
    """So many padded frames, combined along the width, once `after` is there.

    Else XLA would combine all frames before the first product and hold them: the place of the first frame, too, is
    made to depend on what it can't foresee.
    """
    if after is not None:
        start = first - jnp.where(after[0, 0, 0, 0, 0] > jnp.inf, 1, 0)
        x = lax.dynamic_slice_in_dim(x, start, count, axis=1)
    else:
        x = x[:, first : first + count]
    end = x.shape[3] - 3
    return jnp.stack(_combine([x[:, :, :, i : end + i : 2] for i in range(4)]))


def _after(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The kernel, once there is an x. Else XLA splits the kernels of all layers before the first, and keeps them.

    It drops optimisation barriers before it orders what it does, so the kernel meets a 1 that it can't foresee.
    """
    return kernel * jnp.where(x[0, -1, 0, 0, 0] > jnp.inf, 2, 1).astype(kernel.dtype)


def _pairs(
    x: Float[Array, "4 B S H w I"],
    taps: Float[Array, "4 3 4 I O"],
    y: Float[Array, "B P H W O"],
    first: int,
    precision: lax.Precision,
) -> Float[Array, "B P H W O"]:
    """The outputs of x in y, from frame `first` on: one pair at a time, so that what is combined of it stays near."""

    def pair(index: jax.Array, y: jax.Array) -> jax.Array:
        four = _combine([lax.dynamic_index_in_dim(x, 2 * index + i, 2, keepdims=False) for i in range(4)])
        products = [_columns(part, tap, precision) for part, tap in zip(four, taps, strict=True)]
        frames = zip(*(_rejoin(over_time) for over_time in zip(*products, strict=True)), strict=True)
        both = jnp.stack([_interleave(frame) for frame in frames], axis=1)
        return lax.dynamic_update_slice_in_dim(y, both, first + 2 * index, axis=1)

    filled: jax.Array = lax.fori_loop(0, x.shape[2] // 2 - 1, pair, y)
    return filled


def _last(
    x: Float[Array, "4 B S H w I"], taps: Float[Array, "3 3 4 I O"], precision: lax.Precision
) -> Float[Array, "B H W O"]:
    """The last frame by itself, combined along the width only."""
    frames = range(x.shape[2] - 3, x.shape[2])
    products = [_columns(x[:, :, frame], tap, precision) for frame, tap in zip(frames, taps, strict=True)]
    return _interleave([first + second + third for first, second, third in zip(*products, strict=True)])


def _columns(
    parts: Float[Array, "4 B H w I"], taps: Float[Array, "3 4 I O"], precision: lax.Precision
) -> list[Float[Array, "B H w O"]]:
    """The convolution along the height of each of the four combinations."""
    return [
        lax.conv_general_dilated(
            parts[i], taps[:, i : i + 1], (1, 1), ((1, 1), (0, 0)), dimension_numbers=_DIMENSIONS, precision=precision
        )
        for i in range(4)
    ]


def _interleave(products: Sequence[Float[Array, "B H w O"]]) -> Float[Array, "B H W O"]:
    """Two columns in a row of four products along the width."""
    y = jnp.stack(_rejoin(products), axis=3)  # [B H w 2 O]
    return y.reshape(*y.shape[:2], -1, y.shape[4])


def _combine(x: Sequence[jax.Array]) -> list[jax.Array]:
    """Four inputs in a row, as they meet the four taps."""
    return [x[0] - x[2], x[1] + x[2], x[2] - x[1], x[1] - x[3]]


def _split(kernel: jax.Array, *, axis: int) -> jax.Array:
    """A kernel's three taps along an axis as four."""
    first, second, third = (lax.index_in_dim(kernel, i, axis, keepdims=False) for i in range(3))
    outer = first + third
    return jnp.stack([first, (outer + second) * 0.5, (outer - second) * 0.5, third], axis)


def _rejoin(products: Sequence[jax.Array]) -> list[jax.Array]:
    """Four products as two outputs in a row."""
    return [products[0] + products[1] + products[2], products[1] - products[2] - products[3]]
