"""Noise of a sample: exactly the one that is specified, whatever the chunks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cogvae_cli.model.posterior import clip_key, draw, frames_noise

SHA256 = "0123456789abcdeffedcba98765432100f1e2d3c4b5a69788796a5b4c3d2e1f0"


def by_hand(seed, frame, shape):
    """The specification, word by word, for a seed of less than 32 bits."""
    key = jax.random.key(seed, impl="threefry2x32")
    for word in np.frombuffer(bytes.fromhex(SHA256), ">u4"):
        key = jax.random.fold_in(key, int(word))
    return np.asarray(jax.random.normal(jax.random.fold_in(key, frame), shape, jnp.float32))


def test_the_noise_is_the_one_that_is_specified():
    noise = np.asarray(frames_noise(clip_key(7, SHA256), 5, (2, 3, 4, 16)))
    np.testing.assert_array_equal(noise, np.stack([by_hand(7, frame, (3, 4, 16)) for frame in (5, 6)]))


def test_these_numbers_never_change():
    noise = np.asarray(frames_noise(clip_key(2**40 + 7, SHA256), 1, (1, 2, 2, 16)))
    np.testing.assert_allclose(noise[0, 1, 0, :4], (1.4624506, -0.0082476, 0.3999787, 0.6675918), atol=1e-6)


def test_chunks_of_frames_do_not_change_it():
    key = clip_key(2**63 - 1, SHA256)
    whole = np.asarray(frames_noise(key, 0, (5, 2, 3, 16)))
    parts = [np.asarray(frames_noise(key, first, (count, 2, 3, 16))) for first, count in ((0, 3), (3, 2))]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_every_bit_of_seed_and_source_counts():
    keys = [clip_key(seed, SHA256) for seed in (0, 1, 2**31, 2**32, 2**32 + 1, 2**62)]
    keys += [clip_key(0, SHA256[:at] + "5" + SHA256[at + 1 :]) for at in (0, 20, 63)]
    assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == len(keys)


@pytest.mark.parametrize(("seed", "sha256"), [(-1, SHA256), (2**63, SHA256), (0, "ab")])
def test_what_is_no_seed_or_no_hash_is_refused(seed, sha256):
    with pytest.raises(ValueError, match=r"seed|sha256"):
        clip_key(seed, sha256)


def test_a_sample_is_the_mean_plus_deviations():
    mean, logvar, noise = (jnp.full((1, 2, 2, 16), value, jnp.float32) for value in (3.0, 2 * np.log(0.5), -2.0))
    np.testing.assert_allclose(np.asarray(draw(mean, logvar, noise)), 2.0, rtol=1e-6)
