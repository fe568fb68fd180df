"""How much of a device's memory a clip takes: weights, caches and chunks to the byte, work memory by a fitted model.

Work memory is what a program needs while it runs. It grows with the pixels of a frame and with the width of the first
level: `WORK` has, for each kind of program, how many times the widest level's activations it comes to, fitted to what
the compilers report (benchmarks/tpu_compile.py; docs/performance.md has the measurements).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax

from cogvae_cli.model.chunks import Part, frames_of
from cogvae_cli.model.config import SPACE
from cogvae_cli.model.programs import Program
from cogvae_cli.model.sharding import chips, is_by_clip
from cogvae_cli.model.vae import Network

LANES = 128
"""Channels of a TPU array are padded to a multiple of this."""

WORK: dict[tuple[str, Part, bool], tuple[float, float]] = {
    ("cpu", "encoder", False): (6.9, 12.0),
    ("cpu", "encoder", True): (12.6, 19.9),
    ("cpu", "decoder", False): (12.6, 18.9),
    ("cpu", "decoder", True): (12.9, 20.6),
    ("tpu", "encoder", False): (3.6, 3.6),
    ("tpu", "encoder", True): (5.9, 5.9),
    ("tpu", "decoder", False): (9.2, 9.2),
    ("tpu", "decoder", True): (9.8, 9.8),
}
"""By platform, part, and whether the chunk is a later one: work memory over the activations of the widest level, for
dtypes of four and of two bytes. On CPU a seventh more than the compiler reports (benchmarks/cpu_compile.py), of `tiny`
or of the full network, whichever is more."""

FOR_EACH_CHIP = 0.07
"""Share by which the work memory of a TPU's chip exceeds its part of the frame's, for each other chip that has one:
edges, and rows that don't divide. Fitted to decoding, of which it is the most (docs/performance.md, Several chips)."""

UNKNOWN = (22.0, 39.0)
"""The same where nothing was measured: far more than the most of those above, so that tiles are rather too small."""


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes on one device at the worst moment of a clip."""

    weights: int
    caches: int
    """Of all tiles together."""
    chunks: int
    """What goes in and comes out, of this chunk and of the one that is read back meanwhile."""
    work: int

    @property
    def total(self) -> int:
        return self.weights + self.caches + self.chunks + self.work


def need(programs: Sequence[Program], tiles: int, size: tuple[int, int], platform: str) -> Need:
    """Of one direction: its programs (of a tile, or of whole frames), how many tiles, the frames' height and width."""
    work = max(_work(program, platform) for program in programs)
    worst = max(programs, key=lambda program: program.height * program.width * program.length)
    caches = max(_cache_bytes(program) for program in programs if not program.later)
    chunks = 2 * (_bytes(worst.chunk) + _result_bytes(worst, size))
    mesh = worst.network.mesh
    parts = chips(mesh)
    if platform == "tpu" and not is_by_clip(mesh):
        work = round(work * (1 + FOR_EACH_CHIP * (parts - 1)))
    return Need(_weight_bytes(worst.network), tiles * caches // parts, chunks // parts, work // parts)


def _work(program: Program, platform: str) -> int:
    network = program.network
    itemsize = network.numerics.array_dtype.itemsize
    channels = network.config.block_out_channels[0]
    if platform == "tpu":
        channels = math.ceil(channels / LANES) * LANES
    frames = program.length if network.part == "encoder" else frames_of(program.length)
    activations = program.batch * frames * program.height * program.width * channels * itemsize
    return round(WORK.get((platform, network.part, program.later), UNKNOWN)[itemsize == 2] * activations)


def _cache_bytes(program: Program) -> int:
    """Caches grow with the area and are the same in strips: one block of 8x8 pixels tells."""
    numerics = dataclasses.replace(program.network.numerics, strips=1)
    block = _block_bytes(dataclasses.replace(program.network, numerics=numerics))
    return program.batch * block * (program.height // SPACE) * (program.width // SPACE)


@functools.lru_cache(maxsize=64)
def _weight_bytes(network: Network) -> int:
    return _bytes(network.shapes())


@functools.lru_cache(maxsize=64)
def _block_bytes(network: Network) -> int:
    return _bytes(Program(dataclasses.replace(network, mesh=None), 1, False, SPACE, SPACE).new_caches())


def _result_bytes(program: Program, size: tuple[int, int]) -> int:
    """Of the whole frame; blended from float32 tiles where there are any."""
    height, width = size
    if program.network.part == "encoder":
        latents = math.ceil(program.length / 4) * (height // SPACE) * (width // SPACE)
        return program.batch * latents * 2 * program.network.config.latent_channels * 4
    pixels = program.batch * frames_of(program.length) * height * width * 3
    return pixels * 9 if program.raw else pixels


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
