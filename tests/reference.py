"""The reference, live: diffusers' AutoencoderKLCogVideoX with the weights of tests/random_weights.py.

Imported only where torch and diffusers are installed (mark `parity`, tools/make_goldens.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from random_weights import random_tensors

from cogvae_cli.model.config import VAEConfig
from cogvae_cli.model.tiling import Tiling


def tile(vae: AutoencoderKLCogVideoX, tiling: Tiling) -> None:
    """Lets the reference compute in the same tiles."""
    vae.enable_tiling(
        tile_sample_min_height=tiling.height,
        tile_sample_min_width=tiling.width,
        tile_overlap_factor_height=tiling.overlap_height / tiling.height,
        tile_overlap_factor_width=tiling.overlap_width / tiling.width,
    )


def reference_vae(config: VAEConfig, tensors: dict[str, np.ndarray] | None = None) -> AutoencoderKLCogVideoX:
    """diffusers' module of that config, float32, with the given or the random weights; nothing left over."""
    values: dict[str, Any] = {k: v for k, v in config.to_diffusers().items() if not k.startswith("_")}
    vae = AutoencoderKLCogVideoX(**values).eval()
    tensors = random_tensors(config) if tensors is None else tensors
    vae.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in tensors.items()}, strict=True)
    return vae


def to_torch(array: np.ndarray) -> torch.Tensor:
    """[B T H W C] -> [B C T H W]."""
    return torch.from_numpy(np.ascontiguousarray(array)).permute(0, 4, 1, 2, 3)


def from_torch(tensor: torch.Tensor) -> np.ndarray:
    """[B C T H W] -> [B T H W C]."""
    return tensor.permute(0, 2, 3, 4, 1).numpy()


def encode(vae: AutoencoderKLCogVideoX, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and logvar of the frames through the public method; channels last."""
    with torch.no_grad():
        posterior = vae.encode(to_torch(frames)).latent_dist
    return {"mean": from_torch(posterior.mean), "logvar": from_torch(posterior.logvar)}


def decode(vae: AutoencoderKLCogVideoX, latents: np.ndarray) -> np.ndarray:
    """The decoded latents through the public method; channels last."""
    with torch.no_grad():
        return from_torch(vae.decode(to_torch(latents)).sample)
