"""Samples of the encoder's distribution: noise that depends on the seed, the source and the latent frame, on no more.

Axes: t latent frames, h and w of the whole latent frame, C channels.

The noise of latent frame i is `jax.random.normal(fold_in(key, i), (h, w, C), float32)`, drawn for the whole frame, so
that neither chunks nor tiles change it. `key` is a threefry2x32 key made in two steps:
1. of the seed, its upper and its lower 32 bits: the words [seed >> 32, seed & 0xffffffff];
2. the source's sha256 as eight big-endian words of 32 bits, folded in one after another, the first digits first.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

_WORD = 2**32
_DIGITS = 8  # of hexadecimal, in 32 bits


def clip_key(seed: int, sha256: str) -> Key[Array, ""]:
    """The key of one clip's noise.

    seed: 0 to 2^63-1; all of its bits count, though jax.random.key drops the upper ones.
    sha256: of the source, 64 hexadecimal digits. Raises ValueError for others.
    """
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed} is not in 0 to 2^63-1")
    if len(sha256) != 64:
        raise ValueError(f"{sha256!r} is no sha256")
    words = np.array([seed // _WORD, seed % _WORD], np.uint32)
    key: Key[Array, ""] = jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")
    for start in range(0, len(sha256), _DIGITS):
        key = jax.random.fold_in(key, np.uint32(int(sha256[start : start + _DIGITS], 16)))
    return key


def frames_noise(key: Key[Array, ""], first: int, shape: tuple[int, int, int, int]) -> Float[Array, "t h w C"]:
    """Standard normal noise of the latent frames `first` to `first + t - 1` of a clip; `shape` is (t, h, w, C)."""
    frames = [jax.random.fold_in(key, np.uint32(frame)) for frame in range(first, first + shape[0])]
    return jnp.stack([jax.random.normal(one, shape[1:], jnp.float32) for one in frames])  # one program for any t


def draw(
    mean: Float[Array, "t h w C"], logvar: Float[Array, "t h w C"], noise: Float[Array, "t h w C"]
) -> Float[Array, "t h w C"]:
    """The sample: mean + exp(logvar / 2) * noise."""
    return mean + jnp.exp(0.5 * logvar) * noise
