"""Outputs of every kind, written as the commands write them: for tests that kill the writer or fill its disk."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from latents_samples import HEADER, values

from cogvae_cli.io.destinations import video_writer, whole_file
from cogvae_cli.io.latents import LatentsWriter
from cogvae_cli.io.latents_header import MEMBERS
from cogvae_cli.io.write_options import WriteOptions

LATENTS = ("npz", "safetensors")


def made(container: str, seed: int) -> np.ndarray | dict[str, np.ndarray]:
    """What is written: frames, or the values of latents."""
    rng = np.random.default_rng(seed)
    if container in LATENTS:
        return values(rng)
    return rng.integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)


def put(path: Path, container: str, codec: str, content: np.ndarray | dict[str, np.ndarray]) -> None:
    if isinstance(content, dict):
        with (
            whole_file(path, overwrite=True) as part,
            LatentsWriter(part, container, HEADER.dtype, MEMBERS[HEADER.posterior]) as latents,
        ):
            latents.append(content)
            latents.finish(HEADER)
    else:
        options = WriteOptions(64, 48, Fraction(25), container, codec=codec or None)
        with video_writer(path, options, overwrite=True) as writer:
            writer.write(content)
