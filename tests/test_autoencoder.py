"""The VAE as a library user holds it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from random_weights import TINY, random_frames, random_latents, random_tensors

from cogvae_cli.errors import InputError, NonFiniteError, UsageError
from cogvae_cli.model.autoencoder import VAE, regroup
from cogvae_cli.model.config import ModelSource
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.vae import decode_step, encode_step, to_pixels, to_unit

HEIGHT, WIDTH = 16, 24
"""One size for all tests: each (size, length) of a chunk is a program of its own to compile."""


@functools.cache
def _vae(dtype: str = "float32") -> VAE:
    source = ModelSource("random", None, "0" * 64, ())
    return VAE(TINY, random_tensors(TINY), source, encode=Numerics(dtype), decode=Numerics(dtype))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As a user runs it: without the type checker that tests put in front."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def _frames(count: int) -> np.ndarray:
    return random_frames(count, HEIGHT, WIDTH)


@pytest.mark.long  # test_main_job.py counts them by the command
def test_any_number_of_chunks_compiles_two_programs_a_direction() -> None:
    """The first test here: those after it use its programs."""
    encode_step.clear_cache()
    decode_step.clear_cache()
    for count in (9, 17, 41):
        latents = _vae().encode(_frames(count)).mean
        _vae().decode(latents)
    assert encode_step._cache_size() == 2
    assert decode_step._cache_size() == 2


def test_a_stream_gives_what_the_whole_gives_however_it_is_cut() -> None:
    frames = _frames(25)
    whole = _vae().encode(frames)
    for cuts in ((25,), (1,) * 25, (4, 17, 4), (9, 8, 8)):
        pieces = np.split(frames, np.cumsum(cuts)[:-1], axis=1)
        parts = list(_vae().encode_stream(pieces))
        assert [part.mean.shape[1] for part in parts] == [3, 2, 2]
        np.testing.assert_array_equal(np.concatenate([part.mean for part in parts], axis=1), whole.mean)
        np.testing.assert_array_equal(np.concatenate([part.logvar for part in parts], axis=1), whole.logvar)


@pytest.mark.parametrize("length", [7, pytest.param(6, marks=pytest.mark.long)])
def test_a_stream_of_latents_gives_what_the_whole_gives(length: int) -> None:
    latents = random_latents(length, HEIGHT // 8, WIDTH // 8)
    pieces = (latents[:, i : i + 1] for i in range(length))
    parts = list(_vae().decode_stream(pieces, length=length))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), _vae().decode(latents))


def test_an_image_is_a_stream_of_one_frame() -> None:
    (part,) = _vae().encode_stream([_frames(1)])
    np.testing.assert_array_equal(part.mean, _vae().encode(_frames(1)).mean)
    (frames,) = _vae().decode_stream([part.mean])
    assert frames.shape == (1, 1, HEIGHT, WIDTH, 3)


def test_a_partial_tail_is_an_error_that_counts_and_comes_after_the_whole_chunks() -> None:
    stream = _vae().encode_stream(iter([_frames(25)[:, :20]]))
    assert next(stream).mean.shape[1] == 3
    with pytest.raises(InputError, match=re.escape("20 frames can't be cut into 9 and then 8 at a time: 3 are left")):
        list(stream)
    with pytest.raises(InputError, match="no frames"):
        list(_vae().encode_stream([]))


def test_regrouping_neither_loses_nor_repeats_anything() -> None:
    numbers = np.arange(41)[None]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cuts = np.sort(rng.integers(0, 42, rng.integers(0, 12)))
        parts = list(regroup(np.split(numbers, cuts, axis=1), 9, 8, "numbers"))
        assert [part.shape[1] for part in parts] == [9, 8, 8, 8, 8]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), numbers)


@pytest.mark.long
def test_a_batch_is_its_clips_one_by_one() -> None:
    frames = np.concatenate([_frames(9), _frames(9)[:, ::-1] * 0.5])
    both = _vae().encode(frames)
    for index in range(2):
        single = _vae().encode(frames[index : index + 1])
        np.testing.assert_allclose(both.mean[index], single.mean[0], atol=1e-6)  # measured 3e-7
    decoded = _vae().decode(both.mean)
    single = _vae().decode(both.mean[1:])
    np.testing.assert_allclose(decoded[1], single[0], atol=1e-6)  # measured 2e-7


def test_levels_are_normalised_to_the_bit_as_numpy_does() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 1, 16, 16, 3)
    expected = pixels.astype(np.float32) / 127.5 - 1
    np.testing.assert_array_equal(jax.jit(to_unit)(pixels), expected)


def test_pixels_and_floats_encode_alike() -> None:
    pixels = np.asarray(to_pixels(jnp.asarray(_frames(9))))
    chunk, _ = _vae().encode_chunk(pixels, None)
    posterior = _vae().encode(pixels.astype(np.float32) / 127.5 - 1)
    np.testing.assert_allclose(chunk.mean, posterior.mean, atol=1e-6)  # measured 3e-7


def test_pixels_are_rounded_to_the_nearest_and_clipped() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16, 1).repeat(3, axis=-1)
    np.testing.assert_array_equal(to_pixels(to_unit(jnp.asarray(levels))), levels)
    values = jnp.asarray([-7.0, -1 + 0.49 / 127.5, -1 + 0.51 / 127.5, 1.0, 1.5, 254.51 / 127.5 - 1])
    row = jnp.tile(values.reshape(1, 1, 1, 6, 1), (1, 1, 1, 1, 3))
    np.testing.assert_array_equal(to_pixels(row)[0, 0, 0, :, 0], [0, 0, 1, 255, 255, 255])


def test_logvar_is_clamped_as_upstream_clamps_it() -> None:
    tensors = random_tensors(TINY)
    tensors["encoder.conv_out.conv.bias"] = tensors["encoder.conv_out.conv.bias"] + 1000 * np.repeat([0, 1], 16).astype(
        np.float32
    ) * np.resize([1, -1], 32)
    source = ModelSource("random", None, "0" * 64, ())
    vae = VAE(TINY, tensors, source, encode=Numerics(), decode=Numerics())
    logvar = np.asarray(vae.encode(_frames(1)).logvar)
    assert set(np.unique(logvar)) == {-30.0, 20.0}


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (np.zeros((1, 9, 16, 20, 3), np.float32), "20x16 can't be encoded: both sides must be multiples of 8"),
        (np.zeros((9, 16, 24, 3), np.float32), "[9, 16, 24, 3]; [B T H W 3]"),
        (np.zeros((1, 3, 9, 16, 24), np.float32), "[1, 3, 9, 16, 24]; [B T H W 3]"),
        (np.zeros((1, 0, 16, 24, 3), np.float32), "[1, 0, 16, 24, 3]"),
        (np.zeros((1, 9, 16, 24, 3), np.uint8), "uint8; floats are needed"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_frames_of_another_shape_or_dtype_are_refused(frames: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        _vae().encode(frames)


@pytest.mark.usefixtures("unchecked")
def test_latents_in_torch_order_are_refused_with_a_hint() -> None:
    with pytest.raises(InputError, match=re.escape("[1, 16, 3, 2, 3]")) as caught:
        _vae().decode(np.zeros((1, 16, 3, 2, 3), np.float32))
    assert "must be transposed" in (caught.value.hint or "")


@pytest.mark.usefixtures("unchecked")
def test_a_list_is_refused() -> None:
    with pytest.raises(UsageError, match="list"):
        _vae().encode([[0.0]])


def test_nan_is_an_error_that_names_the_frame() -> None:
    frames = _frames(25).copy()
    frames[0, 18, 3, 3, 0] = np.nan
    with pytest.raises(NonFiniteError, match="latent frame 5 holds NaN or Inf"):
        _vae().encode(frames)
    latents = random_latents(5, 2, 3).copy()
    latents[0, 4, 0, 0, 0] = np.inf
    with pytest.raises(NonFiniteError, match=r"^frame \d+ holds NaN or Inf"):
        _vae().decode(latents)


def test_jax_arrays_and_float64_go_in_too() -> None:
    frames = _frames(1)
    expected = _vae().encode(frames).mean
    np.testing.assert_array_equal(_vae().encode(jnp.asarray(frames)).mean, expected)
    np.testing.assert_array_equal(_vae().encode(frames.astype(np.float64)).mean, expected)
    assert isinstance(expected, jax.Array)


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.long)])
def test_half_precision_is_near_float32_and_comes_back_as_float32(dtype: str) -> None:
    latents = random_latents(3, HEIGHT // 8, WIDTH // 8)
    exact = np.asarray(_vae().decode(latents))
    half = _vae(dtype).decode(latents)
    assert half.dtype == jnp.float32
    error = float(np.abs(half - exact).max())
    assert 1e-5 < error < {"bfloat16": 0.06, "float16": 0.006}[dtype]
