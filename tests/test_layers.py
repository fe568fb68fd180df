"""The layers by themselves: streaming, and the operations that others got wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from cogvae_cli.model import convolution, layers
from cogvae_cli.model.numerics import Numerics

RNG = np.random.default_rng(5)
NUMERICS = Numerics()
HIGHEST = NUMERICS.lax_precision


def _noise(*shape: int) -> jax.Array:
    return jnp.asarray(RNG.standard_normal(shape, dtype=np.float32))


def _rngs() -> nnx.Rngs:
    return nnx.Rngs(3)


def test_a_causal_conv_gives_the_same_in_one_piece_and_in_a_stream() -> None:
    conv = layers.CausalConv3d(4, 6, numerics=NUMERICS, rngs=_rngs())
    x = _noise(2, 9, 8, 6, 4)
    whole, end = conv(x, None)
    cache, parts = None, []
    for start, stop in ((0, 1), (1, 4), (4, 5), (5, 9)):
        part, cache = conv(x[:, start:stop], cache)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)  # measured 0
    np.testing.assert_array_equal(cache, end)


def test_the_future_cannot_reach_the_past() -> None:
    conv = layers.CausalConv3d(4, 6, numerics=NUMERICS, rngs=_rngs())
    x = _noise(1, 6, 8, 8, 4)
    changed = x.at[:, 4:].add(1)
    before, after = conv(x, None)[0], conv(changed, None)[0]
    np.testing.assert_array_equal(before[:, :4], after[:, :4])
    assert np.abs(before[:, 4] - after[:, 4]).max() > 0.1


def test_a_stream_that_starts_with_one_frame_still_remembers_two() -> None:
    conv = layers.CausalConv3d(4, 6, numerics=NUMERICS, rngs=_rngs())
    x = _noise(1, 1, 4, 4, 4)
    _, cache = conv(x, None)
    np.testing.assert_array_equal(cache, np.repeat(x, 2, axis=1))


def test_upsampling_by_phases_is_doubling_and_then_convolving() -> None:
    x, kernel = _noise(3, 5, 4, 6), _noise(3, 3, 6, 2)
    doubled = x.repeat(2, axis=1).repeat(2, axis=2)
    expected = convolution.conv2d(doubled, kernel, padding=convolution.SAME, precision=HIGHEST)
    got = convolution.upsampling_conv2d(x, kernel, precision=HIGHEST)
    np.testing.assert_allclose(got, expected, atol=3e-5)  # measured 4e-6


def test_large_frames_are_upsampled_one_after_the_other() -> None:
    x, kernel = _noise(1, 2, 64, 64, 128), _noise(3, 3, 128, 2) / 34  # to outputs of about unit deviation
    doubling = functools.partial(convolution.doubling_conv, precision=HIGHEST)
    assert "stablehlo.while" in jax.jit(doubling).lower(x, kernel).as_text()
    expected = convolution.upsampling_conv2d(x[0], kernel, precision=HIGHEST)
    got = doubling(x, kernel)
    np.testing.assert_allclose(got[0], expected, rtol=0, atol=1e-6)  # measured 0


def test_pairs_of_frames_are_averaged_pixel_by_pixel() -> None:
    x = _noise(2, 7, 2, 4, 3)
    expected = np.stack([x[:, 0], *((x[:, i] + x[:, i + 1]) / 2 for i in (1, 3, 5))], axis=1)
    np.testing.assert_array_equal(layers._average_pairs(x), expected)
    even = np.stack([(x[:, i] + x[:, i + 1]) / 2 for i in (0, 2, 4)], axis=1)
    np.testing.assert_array_equal(layers._average_pairs(x[:, :6]), even)


@pytest.mark.parametrize(
    ("frames", "latent_of_frame"),
    [
        (1, [0]),
        (9, [0, 1, 1, 1, 1, 2, 2, 2, 2]),
        (5, [0, 1, 1, 2, 2]),
        (8, [0, 0, 0, 0, 1, 1, 1, 1]),
        (4, [0, 0, 1, 1]),
    ],
)
def test_latents_are_repeated_over_the_frames_that_they_stand_for(frames: int, latent_of_frame: list[int]) -> None:
    z = _noise(1, max(latent_of_frame) + 1, 2, 3, 4)
    expected = z[:, latent_of_frame].repeat(4, axis=2).repeat(4, axis=3)
    np.testing.assert_array_equal(layers.repeat_to(z, (frames, 8, 12)), expected)


@pytest.mark.parametrize(("frames", "doubled"), [(1, 1), (2, 4), (3, 5), (4, 8), (5, 9)])
def test_frame_0_of_an_odd_count_is_not_doubled_in_time(frames: int, doubled: int) -> None:
    up = layers.Upsample(4, time=True, numerics=NUMERICS, rngs=_rngs())
    x = _noise(1, frames, 3, 5, 4)
    y = np.asarray(up(x))
    assert y.shape == (1, doubled, 6, 10, 4)
    single = layers.Upsample(4, time=False, numerics=NUMERICS, rngs=_rngs())
    spatial = np.asarray(single(x))
    order = (
        list(range(frames))
        if frames == 1
        else [0] * (frames % 2) + [i for i in range(frames % 2, frames) for _ in range(2)]
    )
    np.testing.assert_array_equal(y, spatial[:, order])


def _normalised(x: np.ndarray, groups: int) -> np.ndarray:
    """Group norm in float64, without weight and bias."""
    grouped = x.astype(np.float64).reshape(*x.shape[:4], groups, -1)
    mean = grouped.mean(axis=(1, 2, 3, 5), keepdims=True)
    deviation = np.sqrt(grouped.var(axis=(1, 2, 3, 5), keepdims=True) + 1e-6)
    return ((grouped - mean) / deviation).reshape(x.shape)


def test_group_norm_takes_its_statistics_over_chunk_and_group_with_the_mean_taken_out_first() -> None:
    norm = layers.GroupNorm(8, 2, eps=1e-6, numerics=NUMERICS)
    norm.weight[...] = jnp.asarray(_noise(8))
    norm.bias[...] = jnp.asarray(_noise(8))
    x = _noise(2, 3, 4, 5, 8) + 300  # a variance from E[x^2] - E[x]^2 would lose all its digits here
    expected = _normalised(np.asarray(x), 2) * np.asarray(norm.weight) + np.asarray(norm.bias)
    np.testing.assert_allclose(norm(x), expected, atol=2e-4)  # measured 5e-5, for x itself is rounded to 3e-5


def test_norm_statistics_are_float32_when_the_network_computes_in_bfloat16() -> None:
    norm = layers.GroupNorm(8, 2, eps=1e-6, numerics=Numerics("bfloat16", "default"))
    x = jnp.asarray(_noise(1, 9, 32, 32, 8) + 3, jnp.bfloat16)
    expected = _normalised(np.asarray(x, np.float32), 2)
    # one rounding to bfloat16 (2^-9 relative) and no more; statistics in bfloat16 are off by several percent
    np.testing.assert_allclose(norm(x).astype(np.float32), expected, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("spatial", [False, True])
def test_a_resnet_block_keeps_its_cache_tree_after_the_first_chunk(spatial: bool) -> None:
    plain = functools.partial(layers.GroupNorm, groups=2, eps=1e-6, numerics=NUMERICS)
    conditioned = functools.partial(layers.SpatialNorm3D, z_channels=4, groups=2, numerics=NUMERICS, rngs=_rngs())
    block = layers.ResnetBlock(4, 8, norm=conditioned if spatial else plain, numerics=NUMERICS, rngs=_rngs())
    x, zq = _noise(1, 4, 8, 8, 4), _noise(1, 2, 4, 4, 4)
    step = jax.jit(block.__call__)
    y, first = step(x, zq if spatial else None, None)
    assert y.shape == (1, 4, 8, 8, 8)
    _, second = step(x, zq if spatial else None, first)
    assert [c.shape for c in first] == [c.shape for c in second] == [(1, 2, 8, 8, 4), (1, 2, 8, 8, 8)]
