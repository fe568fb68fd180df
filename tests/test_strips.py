"""Frames in strips: the form for TPUs computes what whole frames do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_weights import TINY, random_frames, random_latents, random_tensors

from cogvae_cli.model import strips, weights
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.vae import Network, decode_step, encode_step

TOLERANCE = 5e-6
"""1.8e-6 was measured, of values up to 1.5."""


def test_strips_are_cut_and_joined_without_loss() -> None:
    x = jnp.arange(2 * 3 * 12 * 5 * 4.0).reshape(2, 3, 12, 5, 4)
    cut = strips.cut(x, 4)
    assert cut.shape == (8, 3, 3, 5, 4)
    np.testing.assert_array_equal(cut[2 * 2 + 1], x[1, :, 6:9])  # strip 2 of clip 1
    np.testing.assert_array_equal(strips.join(cut, 4), x)


def test_a_strip_knows_the_rows_next_to_it_of_its_own_clip() -> None:
    x = jnp.arange(2 * 3 * 12 * 5 * 4.0).reshape(2, 3, 12, 5, 4) + 1
    wide = strips.with_neighbours(strips.cut(x, 4), 4)
    padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0), (0, 0)))
    for strip in range(4):
        for clip in range(2):
            np.testing.assert_array_equal(wide[strip * 2 + clip], padded[clip, :, 3 * strip : 3 * strip + 5])


@pytest.mark.parametrize(("rows", "expected"), [(60, 15), (96, 8), (17, 17), (4, 4), (1, 1), (8, 8)])
def test_the_encoder_takes_strips_that_fill_sublanes(rows: int, expected: int) -> None:
    assert strips.for_encoding(rows) == expected


@pytest.mark.parametrize(("rows", "chips", "expected"), [(60, 4, 60), (96, 8, 96), (96, 4, 32), (64, 8, 64)])
def test_each_of_several_chips_gets_strips_that_fill_its_sublanes(rows: int, chips: int, expected: int) -> None:
    assert strips.for_encoding(rows, chips) == expected


def run(network: Network, chunks: list[np.ndarray]) -> tuple[list[jax.Array], Network]:
    params = weights.to_params(network, random_tensors(TINY))
    caches, out = None, []
    for chunk in chunks:
        if network.part == "encoder":
            encoded, caches = encode_step(params, chunk, caches, network=network)
            out += [encoded.mean, encoded.logvar]
        else:
            decoded, caches = decode_step(params, chunk, caches, network=network, pixels=False)
            out.append(decoded.frames)
    return out, network


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("part", weights.PARTS)
def test_a_stream_in_strips_gives_what_whole_frames_give(part: str, count: int) -> None:
    whole = Network(TINY, part, Numerics())
    if part == "encoder":
        frames = np.concatenate([random_frames(9, 72, 48), random_frames(9, 72, 48)[:, ::-1]], axis=0)  # two clips
        chunks = [frames, frames[::-1, :8]]
    else:
        latents = np.concatenate([random_latents(3, 9, 6), random_latents(3, 9, 6)[:, ::-1]], axis=0)
        chunks = [latents, latents[::-1, :2]]
    cut = whole.in_strips(72)
    assert cut.numerics.strips == 9
    chunks = chunks[:count]
    for one, other in zip(run(whole, chunks)[0], run(cut, chunks)[0], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE)
