"""Ours against committed outputs of diffusers' AutoencoderKLCogVideoX: no torch needed."""

from __future__ import annotations

import functools

import goldens
import numpy as np
import pytest
from random_weights import random_tensors

from cogvae_cli.model.autoencoder import VAE
from cogvae_cli.model.config import ModelSource, VAEConfig
from cogvae_cli.model.numerics import Numerics

BOUND = 1e-5
"""Largest absolute error. Measured: 2.5e-6 for tiny, 5.1e-6 for the full network."""


@functools.cache
def _vae(config: VAEConfig) -> VAE:
    source = ModelSource("random", None, "0" * 64, ())
    return VAE(config, random_tensors(config), source, encode=Numerics(), decode=Numerics())


@functools.cache
def _stored() -> dict[str, np.ndarray]:
    with np.load(goldens.FILE, allow_pickle=False) as file:
        return dict(file)


def _grouped(case: goldens.Case):
    """The full network takes minutes to compile: .ci/run holds it to the reference itself, the long run to these."""
    marks = [pytest.mark.xdist_group(f"goldens {case.network}")]
    return pytest.param(case, id=case.name, marks=[*marks, pytest.mark.long] if case.network == "full" else marks)


@pytest.mark.parametrize("case", [_grouped(case) for case in goldens.CASES])
def test_the_outputs_are_those_of_diffusers(case: goldens.Case) -> None:
    vae = _vae(case.config).tiled(case.tiling)
    posterior = vae.encode(case.frames())
    decoded = vae.decode(case.latents())
    for name, got in (("mean", posterior.mean), ("logvar", posterior.logvar), ("decoded", decoded)):
        key = f"{case.name}/{name}"
        assert got.shape == tuple(_stored()[f"{key}/shape"])
        values = np.asarray(got).reshape(-1)[goldens.places(key, got.size)]
        expected = _stored()[f"{key}/values"]
        assert 0.1 < expected.std() < 10
        np.testing.assert_allclose(values, expected, rtol=0, atol=BOUND, err_msg=name)
