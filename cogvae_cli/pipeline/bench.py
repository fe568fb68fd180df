"""How fast this machine encodes and decodes: made-up frames through the model, nothing is read or written."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cogvae_cli.errors import UsageError
from cogvae_cli.model.chunks import FRAMES, LENGTHS, decode_plan, encode_plan, latents_of
from cogvae_cli.model.config import BUILT_IN, SPACE
from cogvae_cli.pipeline.compile_cache import options_for
from cogvae_cli.pipeline.device import device_name, named_memory_errors
from cogvae_cli.pipeline.frames import padded_size
from cogvae_cli.pipeline.models import obtain
from cogvae_cli.pipeline.options import RunOptions
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.results import SCHEMA_VERSION, size_text, tile_facts, tiles_of
from cogvae_cli.pipeline.tile_choice import Check, compute

if TYPE_CHECKING:
    from cogvae_cli.io.latents_header import TilesHeader
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.chunks import Part

SEED = 1


@dataclass(frozen=True)
class BenchOptions(RunOptions):
    """What is timed."""

    width: int = 480
    height: int = 272
    frames: int = 17
    """Of the clip, 8k+1."""
    runs: int = 3
    """Timed runs after the first; the fastest counts."""
    profile: Path | None = None
    """Folder for a JAX trace of the timed runs."""


@dataclass(frozen=True)
class DirectionSpeed:
    """One direction's figures."""

    direction: str
    dtype: str
    first_start_seconds: float
    """Compiling, or reading what was compiled before, and the first run."""
    compile_seconds: float
    seconds: float
    """The fastest run of the clip."""
    frames_per_second: float
    compiled_bytes: int
    """The device's memory at the worst moment, by the compiler's word."""


@dataclass(frozen=True)
class BenchResult:
    """Every figure that the command prints."""

    model: str
    device: str
    width: int
    height: int
    frames: int
    runs: int
    tiles: TilesHeader | None
    directions: tuple[DirectionSpeed, ...]
    peak_host_bytes: int
    """The most that this process held so far."""

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        facts = asdict(replace(self, tiles=None))
        return {"schema_version": SCHEMA_VERSION, **facts, "tiles": tile_facts(self.tiles)}


def bench(
    model: str | VAE = BUILT_IN, *, options: BenchOptions | None = None, progress: Progress | None = None
) -> BenchResult:
    """Times both directions on frames of noise of the size that is asked for.

    Raises UsageError for a number of frames that is no 8k+1, DeviceMemoryError, and what loading a model raises.
    """
    options, progress = options or BenchOptions(), progress or Progress()
    if options.frames < 1 or options.runs < 1 or options.frames % FRAMES != 1:
        raise UsageError(
            f"{options.frames} frames, {options.runs} runs", "give 8k+1 frames, say 17, and one run or more"
        )
    vae, notices = obtain(model, options, progress), Notices(progress)
    size = padded_size(options.height, options.width)

    def attempt(vae: VAE, check: Check) -> BenchResult:
        with named_memory_errors(size_text(options.width, options.height)), _traced(options.profile):
            speeds = tuple(_timed(vae, part, options, progress, check) for part in LENGTHS)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        tiles = tiles_of(vae, *size)
        name, width, height = vae.source.name, options.width, options.height
        return BenchResult(name, device_name(), width, height, options.frames, options.runs, tiles, speeds, peak)

    return compute(vae, options.tiles, (size, LENGTHS), attempt, notices)


def _timed(vae: VAE, part: Part, options: BenchOptions, progress: Progress, check: Check) -> DirectionSpeed:
    """The first run with its compiling, then the fastest of the others."""
    size = padded_size(options.height, options.width)
    plan = encode_plan(options.frames) if part == "encoder" else decode_plan(latents_of(options.frames))
    chunks = [_noise(vae, part, length, size, number) for number, length in enumerate(plan)]
    doing = "encoding" if part == "encoder" else "decoding"
    progress.phase(f"compiling for {doing} {size_text(size[1], size[0])}; it may take minutes")
    start = time.perf_counter()
    figures = vae.prepare({part: plan[:2]}, size, options_for(vae.config))
    check(figures)
    compiled = time.perf_counter() - start
    _clip(vae, part, chunks)
    first = time.perf_counter() - start
    progress.phase(f"{doing} {options.runs} times")
    seconds = min(_seconds(lambda: _clip(vae, part, chunks)) for _ in range(options.runs))
    dtype = vae.encode_dtype if part == "encoder" else vae.decode_dtype
    worst = max(one.total for one in figures[part])
    return DirectionSpeed(doing, dtype, first, compiled, seconds, options.frames / seconds, worst)


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _noise(vae: VAE, part: Part, length: int, size: tuple[int, int], number: int) -> np.ndarray:
    rng = np.random.default_rng([SEED, number])
    height, width = size
    if part == "encoder":
        return rng.integers(0, 256, (1, length, height, width, 3), np.uint8)
    shape = (1, length, height // SPACE, width // SPACE, vae.config.latent_channels)
    return rng.standard_normal(shape, np.float32) / np.float32(vae.scaling_factor)


def _clip(vae: VAE, part: Part, chunks: list[np.ndarray]) -> None:
    """A whole clip, each chunk read back while the next one computes."""
    caches, waiting = None, None
    for chunk in chunks:
        if part == "encoder":
            encoded, caches = vae.encode_chunk(chunk, caches)
            result = encoded.mean
        else:
            decoded, caches = vae.decode_chunk(chunk, caches)
            result = decoded.frames
        if waiting is not None:
            np.asarray(waiting)
        waiting = result
    np.asarray(waiting)


@contextmanager
def _traced(folder: Path | None) -> Iterator[None]:
    """Writes a JAX trace of all that runs inside; TensorBoard and Perfetto read it."""
    if folder is None:
        yield
        return
    import jax

    with jax.profiler.trace(str(folder)):
        yield
