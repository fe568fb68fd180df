"""cogvae: video to CogVideoX latents and back, on JAX.

Everything public is in `__all__`. Names are loaded when first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cogvae_cli import errors
from cogvae_cli.errors import CogvaeError

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cogvae_cli.model.autoencoder import VAE, Posterior
    from cogvae_cli.model.config import ModelSource, VAEConfig
    from cogvae_cli.pipeline.batch import decode_batch, encode_batch
    from cogvae_cli.pipeline.compare import compare_files
    from cogvae_cli.pipeline.dataset import LatentDataset
    from cogvae_cli.pipeline.decode import decode_file
    from cogvae_cli.pipeline.encode import encode_file
    from cogvae_cli.pipeline.loading import load
    from cogvae_cli.pipeline.roundtrip import roundtrip_file

__all__ = [
    "VAE",
    "CogvaeError",
    "LatentDataset",
    "ModelSource",
    "Posterior",
    "VAEConfig",
    "compare_files",
    "decode_batch",
    "decode_file",
    "encode_batch",
    "encode_file",
    "errors",
    "load",
    "roundtrip_file",
]

_HOMES = {
    "VAE": "cogvae_cli.model.autoencoder",
    "Posterior": "cogvae_cli.model.autoencoder",
    "ModelSource": "cogvae_cli.model.config",
    "VAEConfig": "cogvae_cli.model.config",
    "LatentDataset": "cogvae_cli.pipeline.dataset",
    "load": "cogvae_cli.pipeline.loading",
    "encode_batch": "cogvae_cli.pipeline.batch",
    "decode_batch": "cogvae_cli.pipeline.batch",
    "encode_file": "cogvae_cli.pipeline.encode",
    "decode_file": "cogvae_cli.pipeline.decode",
    "compare_files": "cogvae_cli.pipeline.compare",
    "roundtrip_file": "cogvae_cli.pipeline.roundtrip",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
