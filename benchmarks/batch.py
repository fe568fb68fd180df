"""Speed of a batch on the CPU, with the built-in model: does the device wait for files?

1. Throughput of `encode --out-dir` against the bare computation on the same shapes, frames in memory.
2. The same pipeline with a stand-in for the network that waits as long as a clip takes to read, and computes nothing:
   against the longest of its stages alone. A pipeline that reads, computes and stores in turn would take their sum.
   At the size of the first part, where a clip is read in a few milliseconds, what Python does for each clip under its
   lock is as long; at 480x272 it is the stages that count.

    python benchmarks/batch.py                  500 clips of 17 frames
    python benchmarks/batch.py --clips 40       a short one
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402  after its platform was chosen
import numpy as np  # noqa: E402
from media import write_numbered  # noqa: E402

from cogvae_cli.io.latents import LatentsWriter, read_header, read_latents  # noqa: E402
from cogvae_cli.io.outputs import atomic_output  # noqa: E402
from cogvae_cli.io.video_reader import VideoReader  # noqa: E402
from cogvae_cli.model.autoencoder import VAE  # noqa: E402
from cogvae_cli.model.vae import Caches, EncodedChunk  # noqa: E402
from cogvae_cli.pipeline.batch import BatchJob, run_batch  # noqa: E402
from cogvae_cli.pipeline.batch_clips import maker_for  # noqa: E402
from cogvae_cli.pipeline.batch_messages import Failed, FromWorker, Job, Made, Task  # noqa: E402
from cogvae_cli.pipeline.batch_progress import BatchProgress  # noqa: E402
from cogvae_cli.pipeline.batch_run import THREADS  # noqa: E402
from cogvae_cli.pipeline.batch_worker import work  # noqa: E402
from cogvae_cli.pipeline.encode import EncodeOptions, encode_file  # noqa: E402
from cogvae_cli.pipeline.loading import load  # noqa: E402
from cogvae_cli.pipeline.progress import Progress  # noqa: E402

SIZE, LARGER = (128, 128), (480, 272)
FRAMES = 17
DIFFERENT = 20  # clips that are written; the others are links to them
WARM = 5  # clips that come before the clock starts: they compile
RATIO_OF_BARE, TIMES_LONGEST = 0.9, 1.15


def main() -> None:
    """Measures both, prints a table, and fails where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=500)
    count = parser.parse_args().clips
    print(
        f"{count} clips of {FRAMES} frames of {SIZE[0]}x{SIZE[1]}, model tiny; "
        f"{os.cpu_count()} cores, {platform.machine()}, load average {os.getloadavg()[0]:.1f}, jax {jax.__version__}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = write_clips(folder / "clips", count + WARM)
        batch = batch_rate(folder, len(clips))
        bare = bare_rate(clips[: max(10, count // 5)])
        print(f"bare computation   {bare:7.2f} clips/s")
        print(f"batch              {batch:7.2f} clips/s, {batch / bare:.3f} of it")
        overlap(folder / "small", SIZE, clips)
        times = overlap(folder / "larger", LARGER, write_clips(folder / "larger-clips", count + WARM, LARGER))
    if batch < RATIO_OF_BARE * bare or times > TIMES_LONGEST:
        raise SystemExit(
            f"missed: at least {RATIO_OF_BARE} of the bare rate, at most {TIMES_LONGEST} times the longest"
        )


def overlap(folder: Path, size: tuple[int, int], clips: list[Path]) -> float:
    """How many times its longest stage the pipeline with the stand-in takes."""
    folder.mkdir()
    stages = stage_seconds(folder, clips[:DIFFERENT])
    total, longest = stand_in_seconds(folder, clips[WARM:], stages["read"]), max(stages.values())
    print(
        f"{size[0]}x{size[1]}: stages alone, ms a clip: "
        + ", ".join(f"{name} {1e3 * value:.1f}" for name, value in stages.items())
        + f"; with the stand-in {1e3 * total:.1f}, {total / longest:.3f} times the longest"
    )
    return total / longest


def write_clips(folder: Path, count: int, size: tuple[int, int] = SIZE) -> list[Path]:
    """Clips that differ, and hard links to them."""
    folder.mkdir()
    paths = [folder / f"{n:05}.mp4" for n in range(count)]
    for number, path in enumerate(paths):
        if number < DIFFERENT:
            write_numbered(path, FRAMES, size, 10 + number)
        else:
            path.hardlink_to(paths[number % DIFFERENT])
    return paths


class Clock(BatchProgress):
    """When each clip was over."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def row(self, row: Mapping[str, Any]) -> None:
        if row["status"] != "done":
            raise SystemExit(row["error"])
        self.times.append(time.perf_counter())


def batch_rate(folder: Path, count: int) -> float:
    """Clips a second of the real command's batch, once the first ones are through."""
    clock = Clock()
    run_batch(BatchJob("encode", [str(folder / "clips")], folder / "out", "tiny"), clock)
    if len(clock.times) != count:
        raise SystemExit(f"{len(clock.times)} of {count} clips came")
    return (count - WARM) / (clock.times[-1] - clock.times[WARM - 1])


def bare_rate(clips: list[Path]) -> float:
    """Clips a second of the two compiled steps, results fetched, next chunk dispatched before."""
    vae = load("tiny")
    frames = [chunk[None] for chunk in read(clips[0])]
    encode(vae, frames)
    start = time.perf_counter()
    waiting = None
    for _ in clips:
        encoded = encode(vae, frames)
        if waiting is not None:
            jax.device_get([(part.mean, part.finite) for part in waiting])
        waiting = encoded
    jax.block_until_ready(waiting[-1].mean)
    return len(clips) / (time.perf_counter() - start)


def encode(vae: VAE, chunks: list[np.ndarray]) -> list[EncodedChunk]:
    caches: Caches = None
    parts = []
    for chunk in chunks:
        part, caches = vae.encode_chunk(chunk, caches)
        parts.append(part)
    return parts


def read(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        return [chunk.copy() for chunk in reader.chunks(9, 8)]


def stage_seconds(folder: Path, clips: list[Path]) -> dict[str, float]:
    """What reading and storing a clip take by themselves; the stand-in waits as long as reading takes."""
    reading, storing = [], []
    for path in clips:
        start = time.perf_counter()
        read(path)
        reading.append(time.perf_counter() - start)
    latents = folder / "clip.npz"
    encode_file(clips[0], latents, model="tiny")
    header, values = read_header(latents)[0], read_latents(latents).arrays
    for number in range(len(clips)):
        start = time.perf_counter()
        output = folder / f"store-{number}.npz"
        with (
            atomic_output(output, overwrite=False) as part,
            LatentsWriter(part, "npz", "float32", ("latents",)) as writer,
        ):
            writer.append(values)
            writer.finish(header)
        storing.append(time.perf_counter() - start)
    read_time = statistics.median(reading)
    return {"read": read_time, "wait": read_time, "store": statistics.median(storing)}


class StandIn(VAE):
    """The model, but for its network: that waits."""

    seconds = 0.0

    def encode_chunk(self, frames: np.ndarray, caches: Caches) -> tuple[EncodedChunk, Caches]:
        time.sleep(self.seconds * frames.shape[1] / FRAMES)
        height, width = frames.shape[2] // 8, frames.shape[3] // 8
        latents = np.zeros((1, frames.shape[1] // 8 * 2 + frames.shape[1] % 8, height, width, 16), np.float32)
        return EncodedChunk(latents, latents, np.ones(latents.shape[:2], bool)), None


def stand_in_seconds(folder: Path, clips: list[Path], wait: float) -> float:
    """Seconds a clip of the worker's own pipeline, with the stand-in."""
    made = folder / "stand-in"
    kept = folder / "kept"
    made.mkdir()
    kept.mkdir()
    maker = maker_for(Job("encode", "tiny", EncodeOptions(), made, ".npz", THREADS), Progress())
    vae = maker._vae
    vae.__class__ = StandIn
    StandIn.seconds = wait

    def hear(message: FromWorker) -> None:
        if isinstance(message, Failed):
            raise SystemExit(message.trace)
        if isinstance(message, Made):
            message.path.rename(kept / message.path.name)  # as the supervisor does

    def tasks(start: int, end: int) -> Iterator[Task]:
        return (Task(number, str(clips[number])) for number in range(start, end))

    work(maker, tasks(0, WARM), hear, threads=THREADS)
    start = time.perf_counter()
    work(maker, tasks(WARM, len(clips)), hear, threads=THREADS)
    return (time.perf_counter() - start) / (len(clips) - WARM)


if __name__ == "__main__":
    main()
