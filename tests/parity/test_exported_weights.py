"""Weights that the training exports, in diffusers itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from random_weights import TINY
from tiny_training.exporting import export
from tiny_training.learning import Nets

import cogvae_cli as cogvae

pytestmark = pytest.mark.parity


def test_diffusers_loads_an_exported_model_and_computes_the_same(tmp_path) -> None:
    from diffusers import AutoencoderKLCogVideoX
    from reference import decode, encode

    rng = np.random.default_rng(0)
    media = [rng.integers(0, 256, (12, 40, 50, 3), np.uint8), rng.integers(0, 256, (1, 33, 32, 3), np.uint8)]
    said = export(Nets(TINY).fresh(0), TINY.to_diffusers(), media, tmp_path)
    theirs, ours = AutoencoderKLCogVideoX.from_pretrained(tmp_path).eval(), cogvae.load(str(tmp_path))
    assert json.loads((tmp_path / "config.json").read_text())["scaling_factor"] == said["scaling_factor"]
    assert theirs.config.scaling_factor == ours.scaling_factor == said["scaling_factor"]
    frames = rng.uniform(-1, 1, (1, 17, 32, 48, 3)).astype(np.float32)
    mean = np.array(ours.encode(frames).mean)
    decoded = np.asarray(ours.decode(mean))
    # Measured on CPU: 2.1e-6 and 5.7e-6.
    assert np.abs(mean - encode(theirs, frames)["mean"]).max() < 1e-5
    assert np.abs(decoded - decode(theirs, mean)).max() < 1e-5
