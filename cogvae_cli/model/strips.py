"""Frames cut into strips of rows, which stand in the batch axis: the form that TPUs compute fastest.

A TPU lays out a convolution with its batch in the sublanes. A clip has a batch of one, so XLA would cut and copy the
frames before every convolution; strips are cut once, and only rows at their edges are looked up next door. One row of
latents a strip lets the decoder's norms spread their latents by broadcasting alone.
Axes: N strips times clips (strips outside), T time, R rows of a strip, W width, C channels.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cogvae_cli.model.config import SPACE

SUBLANES = 8
"""Rows of a TPU's vector register: a batch is padded to a multiple of this."""


def cut(x: Float[Array, "B T H W C"], strips: int) -> Float[Array, "N T R W C"]:
    """Frames to strips. H is a multiple of `strips`."""
    if strips == 1:
        return x
    batch, frames, height, width, channels = x.shape
    x = x.reshape(batch, frames, strips, height // strips, width, channels)
    return x.transpose(2, 0, 1, 3, 4, 5).reshape(strips * batch, frames, height // strips, width, channels)


def join(x: Float[Array, "N T R W C"], strips: int) -> Float[Array, "B T H W C"]:
    """Strips to frames."""
    if strips == 1:
        return x
    count, frames, rows, width, channels = x.shape
    x = x.reshape(strips, count // strips, frames, rows, width, channels)
    return x.transpose(1, 2, 0, 3, 4, 5).reshape(count // strips, frames, strips * rows, width, channels)


def with_neighbours(x: Float[Array, "N T R W C"], strips: int, *, above: bool = True) -> Float[Array, "N T Q W C"]:
    """Each strip with the last row of the strip above (where wanted) and the first of the one below, zeros outside."""
    batch = x.shape[0] // strips
    # Behind a barrier, or XLA would move whole strips where it wants single rows of them, and copy most of x.
    edges = x[:, :, :1], x[:, :, -1:]
    first, last = jax.lax.optimization_barrier(edges)  # type: ignore[no-untyped-call]
    outside = jnp.zeros_like(first[:batch])
    below = jnp.concatenate([first[batch:], outside], axis=0)
    if not above:
        return jnp.concatenate([x, below], axis=2)
    return jnp.concatenate([jnp.concatenate([outside, last[:-batch]], axis=0), x, below], axis=2)


def for_decoding(rows: int) -> int:
    """How many strips latents of that many rows are cut into: one a row."""
    return rows


def for_encoding(rows: int, chips: int = 1) -> int:
    """How many strips frames of that many rows of latents are cut into; a multiple of `chips`, which divides `rows`.

    The divisor of `rows` for which padding each chip's strips to whole sublanes and looking up neighbours together cost
    least.
    """
    fewest = min(rows, SUBLANES * chips)
    fitting = [strips for strips in range(fewest, rows + 1) if rows % strips == 0 and strips % chips == 0]
    return min(fitting, key=lambda strips: _cost(strips // chips, rows // strips * SPACE))


def _cost(strips: int, rows: int) -> float:
    """How much is computed for each row of a chip's own strips."""
    padded = -(-strips // SUBLANES) * SUBLANES
    return padded / strips * (rows + 2) / rows
