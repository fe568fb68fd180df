"""Do reading, computing and writing overlap? A stand-in for the device waits as long as the host's stage takes.

Encoding: reading a clip is timed alone; then the real `encode_file` runs with a stand-in whose chunks are ready one
after the other, each after the time that reading one takes. Decoding: the same with writing the video. Stages that ran
in turn would take twice the longest of them. Loading a model and compiling are left out.

    python benchmarks/overlap.py                 257 frames of 720x480
    python benchmarks/overlap.py --frames 65 --size 320x176
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np  # noqa: E402
from media import numbered, write_numbered  # noqa: E402

from cogvae_cli.io.destinations import video_writer  # noqa: E402
from cogvae_cli.io.latents import open_latents  # noqa: E402
from cogvae_cli.io.video_reader import VideoReader  # noqa: E402
from cogvae_cli.model.autoencoder import VAE  # noqa: E402
from cogvae_cli.model.chunks import FIRST_FRAMES, FRAMES, frames_of, latents_of  # noqa: E402
from cogvae_cli.model.config import SPACE  # noqa: E402
from cogvae_cli.model.vae import Caches, DecodedChunk, EncodedChunk  # noqa: E402
from cogvae_cli.pipeline.decode import DecodeOptions, decode_file  # noqa: E402
from cogvae_cli.pipeline.encode import EncodeOptions, encode_file  # noqa: E402
from cogvae_cli.pipeline.loading import load  # noqa: E402
from cogvae_cli.pipeline.options import TileOptions, parse_size  # noqa: E402

BOUND = 1.15
RUNS = 3
WHOLE = TileOptions("off")


class Later:
    """An array that is ready at a time to come, as one on a device is."""

    def __init__(self, values: np.ndarray, ready: float) -> None:
        self._values = values
        self._ready = ready
        self.shape = values.shape

    def __getitem__(self, index: int) -> Later:
        return Later(self._values[index], self._ready)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        time.sleep(max(0.0, self._ready - time.perf_counter()))
        return self._values


class StandIn(VAE):
    """A model whose device computes one chunk after the other, `seconds` each, and gives grey."""

    seconds = 0.0
    free = 0.0
    frames = np.empty(0, np.uint8)

    def prepare(self, lengths: Any, size: Any) -> Any:
        return {}

    def _ready(self) -> float:
        self.free = max(self.free, time.perf_counter()) + self.seconds
        return self.free

    def encode_chunk(self, frames: Any, caches: Caches) -> tuple[EncodedChunk, Caches]:
        _, count, height, width, _ = frames.shape
        latents = np.zeros((1, latents_of(count), height // SPACE, width // SPACE, 16), np.float32)
        later = [Later(values, ready) for ready in [self._ready()] for values in (latents, latents)]
        return EncodedChunk(*later, np.ones(latents.shape[:2], bool)), None  # type: ignore[arg-type]

    def decode_chunk(self, latents: Any, caches: Caches, *, pixels: bool = True) -> tuple[DecodedChunk, Caches]:
        frames = self.frames[: frames_of(latents.shape[1])]
        finite = np.ones((1, len(frames)), bool)
        return DecodedChunk(Later(frames[None], self._ready()), finite), None  # type: ignore[arg-type]


def timed(job: Callable[[], object]) -> float:
    """Seconds, the best of some runs."""
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Prints both directions, and fails where one misses the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=257)
    parser.add_argument("--size", default="720x480")
    chosen = parser.parse_args()
    width, height = parse_size(chosen.size)
    vae = load("tiny")
    vae.__class__ = StandIn
    print(f"{chosen.frames} frames of {chosen.size}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    print("\n| direction | host's stage alone s | stand-in alone s | whole s | of the longest |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = write_numbered(folder / "clip.mp4", chosen.frames, (width, height))
        vae.frames = numbered(range(FIRST_FRAMES), width, height)
        worst = max(encoding(vae, clip, folder / "z.npz"), decoding(vae, folder / "z.npz", folder / "out.mp4"))
    if worst > BOUND:
        raise SystemExit(f"missed: at most {BOUND} times the longest stage")


def row(vae: StandIn, direction: str, chunks: int, alone: Callable[[], object], whole: Callable[[], object]) -> float:
    host = timed(alone)
    vae.seconds = host / chunks
    seconds = timed(whole)
    print(f"| {direction} | {host:.2f} | {host:.2f} | {seconds:.2f} | {seconds / host:.2f} |", flush=True)
    return seconds / host


def encoding(vae: StandIn, clip: Path, output: Path) -> float:
    def read() -> int:
        with VideoReader(clip) as reader:
            return sum(1 for _ in reader.chunks(FIRST_FRAMES, FRAMES))

    options = EncodeOptions(tiles=WHOLE, overwrite=True)
    return row(vae, "encode", read(), read, lambda: encode_file(clip, output, model=vae, options=options))


def decoding(vae: StandIn, latents: Path, output: Path) -> float:
    options = DecodeOptions(tiles=WHOLE, overwrite=True)
    with open_latents(latents) as reader:
        header, plan = reader.header, reader.length // 2
    count = header.frames.count

    def write() -> None:
        with video_writer(output, options.video.options_for(output, header), overwrite=True, inputs=[]) as writer:
            writer.write(vae.frames)
            for _ in range((count - FIRST_FRAMES) // FRAMES):
                writer.write(vae.frames[:FRAMES])

    return row(vae, "decode", plan, write, lambda: decode_file(latents, output, model=vae, options=options))


if __name__ == "__main__":
    main()
