"""Headers, values and files of latents that several tests share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from cogvae_cli.io.latents import LatentsWriter
from cogvae_cli.io.latents_header import (
    MEMBERS,
    ColourHeader,
    FramesHeader,
    LatentsHeader,
    PlanHeader,
    SourceHeader,
    TilesHeader,
    TimingHeader,
)
from cogvae_cli.model.config import ModelSource

SHAPE = (5, 4, 6, 16)
"""Of 17 encoded frames of 48x32: [T H W C]."""

HEADER = LatentsHeader(
    dtype="float32",
    posterior="mean",
    seed=None,
    scaling_factor=1.15258426,
    scaled=False,
    model=ModelSource("tiny", None, "ab" * 32, (("config.json", "01" * 32), ("weights.safetensors", "23" * 32))),
    frames=FramesHeader(15, 30, 45, 2, 2, 3, "pad", 0),
    plan=PlanHeader(9, 8, 2),
    tiles=None,
    timing=TimingHeader(Fraction(30000, 1001)),
    source=SourceHeader("clip été.mp4", 1234, "cd" * 32),
    colour=ColourHeader("bt709", "tv", None, None, True),
    versions={"cogvae": "0.1.0", "jax": "0.10.2"},
    settings={"tile": "auto"},
)

SAMPLED = dataclasses.replace(
    HEADER,
    dtype="bfloat16",
    posterior="sample",
    seed=7,
    scaled=True,
    tiles=TilesHeader("reference", 240, 360, 40, 72, 3, 3),
    timing=TimingHeader(Fraction(24), True, tuple(Fraction(k * k, 90000) for k in range(15))),
)

MOMENTS = dataclasses.replace(HEADER, dtype="float16", posterior="moments")


def values(rng: np.random.Generator, header: LatentsHeader = HEADER) -> dict[str, np.ndarray]:
    """Values for the header's arrays, all different."""
    return {name: rng.normal(size=SHAPE).astype(np.float32) for name in MEMBERS[header.posterior]}


def write(path: Path, header: LatentsHeader, arrays: dict[str, np.ndarray], cuts: tuple[int, ...] = (3, 2)) -> Path:
    """Writes a file in pieces of those lengths, into the container that the path's suffix names."""
    kind, start = path.suffix.removeprefix("."), 0
    with LatentsWriter(path, kind, header.dtype, MEMBERS[header.posterior]) as writer:
        for count in cuts:
            writer.append({name: array[start : start + count] for name, array in arrays.items()})
            start += count
        writer.finish(header)
    return path


def peak_mib(work: Callable[[], object]) -> float:
    """Most memory that the work has allocated at a time, in MiB."""
    import tracemalloc

    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
