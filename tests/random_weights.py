"""Weights and inputs made from seeds alone, so that goldens need not carry them.

Norm gains N(1, 0.2), biases N(0, 0.2), kernels uniform within 1/sqrt(fan in), as torch draws them: every layer's
output then has a deviation between 0.1 and 10 (tests/test_parity.py asserts it), so that an absolute bound means
something.
"""

from __future__ import annotations

import hashlib

import numpy as np

from cogvae_cli.model.config import VAEConfig
from cogvae_cli.model.weights import torch_shapes

TINY = VAEConfig(block_out_channels=(16, 32, 32, 64), layers_per_block=1, norm_num_groups=8)
FULL = VAEConfig()


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def random_tensors(config: VAEConfig) -> dict[str, np.ndarray]:
    """Float32 tensors in torch's layout under diffusers' keys, each drawn from a seed that is its own name."""
    tensors = {}
    for key, shape in torch_shapes(config).items():
        generator = _generator(key)
        if len(shape) > 1:
            bound = np.float32(1 / np.sqrt(np.prod(shape[1:])))
            tensors[key] = (2 * generator.random(shape, dtype=np.float32) - 1) * bound
        else:
            noise = generator.standard_normal(shape, dtype=np.float32)
            tensors[key] = noise * np.float32(0.2) + np.float32(key.endswith(".weight"))
    return tensors


def random_frames(count: int, height: int, width: int) -> np.ndarray:
    """[1 T H W 3] float32 in [-1, 1]: noise over moving gradients, so no frame, row or column is like another."""
    noise = _generator(f"frames {height}x{width}").uniform(-0.5, 0.5, (64, height, width, 3))[:count]
    t, y, x = np.ogrid[:count, :height, :width]
    waves = [np.sin(t / 3 + y / 9), np.cos(t / 4 + x / 11), np.sin(t / 5 + (x + y) / 13)]
    waves = np.stack(np.broadcast_arrays(*waves), axis=-1)
    return (0.5 * waves + noise).astype(np.float32)[None]


def random_latents(count: int, height: int, width: int, deviation: float = 0.6) -> np.ndarray:
    """[1 t h w 16] float32, normal; the deviation keeps what is decoded above 0.1 for both networks."""
    noise = _generator(f"latents {height}x{width}").standard_normal((32, height, width, 16), dtype=np.float32)
    return (noise * np.float32(deviation))[None, :count]
