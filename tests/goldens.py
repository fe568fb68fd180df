"""The cases of tests/data/goldens.npz: which network, which length; written by tools/make_goldens.py."""

from __future__ import annotations

import dataclasses
import pathlib
import zlib

import numpy as np
from random_weights import FULL, TINY, random_frames, random_latents

from cogvae_cli.model.chunks import latents_of
from cogvae_cli.model.config import VAEConfig
from cogvae_cli.model.tiling import Tiling

FILE = pathlib.Path(__file__).parent / "data" / "goldens.npz"

SAMPLED = 2048
"""Values kept of each array."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One network on one length of random input, whole or in tiles."""

    network: str
    config: VAEConfig
    count: int
    height: int
    width: int
    tiling: Tiling | None = None

    @property
    def name(self) -> str:
        return f"{self.network} T={self.count} {self.width}x{self.height}{' tiled' if self.tiling else ''}"

    def frames(self) -> np.ndarray:
        return random_frames(self.count, self.height, self.width)

    def latents(self) -> np.ndarray:
        return random_latents(latents_of(self.count), self.height // 8, self.width // 8)


TILES = Tiling(height=32, width=32, overlap_height=8, overlap_width=8, layout="reference")
"""Four rows, the last of one latent, and three columns on 72x104."""

CASES = [
    *(Case("tiny", TINY, count, 64, 96) for count in (1, 2, 5, 8, 9, 13, 16, 17, 25)),
    Case("tiny", TINY, 1, 104, 72, TILES),
    *(Case("full", FULL, count, 64, 64) for count in (1, 9, 17)),
]


def places(key: str, size: int) -> np.ndarray:
    """Which values of the flattened array are kept: the same ones for the same key and size."""
    return np.random.default_rng(zlib.crc32(key.encode())).integers(0, size, SAMPLED)
