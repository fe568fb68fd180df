"""Speed and memory against diffusers on the CPU: the full-size network, random weights, one clip of 9 frames.

Both run in one process, warm, in turn, with the same number of threads, and their results are compared in the same run.
Peak memory is that of a process of its own for each side, above what it holds once the model is loaded.

    python benchmarks/vs_diffusers.py                            float32, diffusers eager
    python benchmarks/vs_diffusers.py --peers compile,autocast   also against torch.compile and bfloat16 autocast
    python benchmarks/vs_diffusers.py --sizes 64x64 --runs 2     a short one

Needs the extra `parity`.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402  after its platform was chosen
import numpy as np  # noqa: E402
import torch  # noqa: E402
from random_weights import FULL, random_frames, random_latents, random_tensors  # noqa: E402
from reference import from_torch, reference_vae, to_torch  # noqa: E402

from cogvae_cli.model.autoencoder import VAE  # noqa: E402
from cogvae_cli.model.config import SPACE, ModelSource  # noqa: E402
from cogvae_cli.model.numerics import Numerics  # noqa: E402
from cogvae_cli.model.work import convolution_flops  # noqa: E402

FRAMES, LATENTS = 9, 3
DIRECTIONS = ("encode", "decode")
CONV = (128, 8, 128, 192)
"""Channels, frames, height and width of the single convolution of torch whose rate is the measure."""

AGREE = 2e-5
"""Largest absolute difference of float32 results that still counts as the same; 1.0e-5 was measured."""

Run = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One direction at one size."""

    direction: str
    width: int
    height: int

    @property
    def input(self) -> np.ndarray:
        """Frames [1 9 H W 3], or latents [1 3 h w 16]."""
        if self.direction == "encode":
            return random_frames(FRAMES, self.height, self.width)
        return random_latents(LATENTS, self.height // SPACE, self.width // SPACE)

    @property
    def gflop(self) -> float:
        return convolution_flops(FULL, "encoder" if self.direction == "encode" else "decoder", self.input.shape) / 1e9

    def __str__(self) -> str:
        return f"{self.direction} {self.width}x{self.height}"


def ours(case: Case, dtype: str) -> Run:
    source = ModelSource("random", None, "0" * 64, ())
    vae = VAE(FULL, random_tensors(FULL), source, encode=Numerics(dtype), decode=Numerics(dtype))
    array = jax.device_put(case.input)
    if case.direction == "encode":
        return lambda: np.asarray(vae.encode(array).mean)
    return lambda: np.asarray(vae.decode(array))


def theirs(case: Case, kind: str) -> Run:
    """diffusers: `eager`, `compile` (torch.compile of the networks), or `autocast` to bfloat16."""
    vae = reference_vae(FULL)
    tensor = to_torch(case.input)
    if kind == "compile":
        vae.encoder, vae.decoder = torch.compile(vae.encoder), torch.compile(vae.decoder)
    cast: Any = torch.autocast("cpu", torch.bfloat16) if kind == "autocast" else contextlib.nullcontext()

    def run() -> np.ndarray:
        with torch.no_grad(), cast:
            result = vae.encode(tensor).latent_dist.mean if case.direction == "encode" else vae.decode(tensor).sample
            return from_torch(result.float())

    return run


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def conv_rate(runs: int) -> float:
    """GFLOP/s of one 3x3x3 convolution of torch, the best of some runs."""
    channels, frames, height, width = CONV
    x = torch.randn(1, channels, frames + 2, height, width)
    kernel = torch.randn(channels, channels, 3, 3, 3)
    with torch.no_grad():
        best = min(timed(lambda: torch.nn.functional.conv3d(x, kernel, padding=(0, 1, 1))) for _ in range(runs + 1))
    return 2 * 27 * channels**2 * frames * height * width / best / 1e9


def compare(case: Case, kind: str, dtype: str, runs: int) -> list[str]:
    """A row of the table. Raises SystemExit if the results differ."""
    mine, peer = ours(case, dtype), theirs(case, kind)
    first_start = timed(mine)
    difference = float(np.abs(mine() - peer()).max())
    if kind != "autocast" and not difference <= AGREE:  # what bfloat16 is off by is told, and no fault of either
        raise SystemExit(f"{case}: the results differ by {difference:.1e}, more than {AGREE:.0e}")
    pairs = [(timed(peer), timed(mine)) for _ in range(runs)]
    ratios = sorted(before / after for before, after in pairs)
    best = [min(times) for times in zip(*pairs, strict=True)]
    rate = conv_rate(runs)
    return [
        str(case),
        f"{kind}, {dtype}",
        f"{best[0]:.2f}",
        f"{best[1]:.2f}",
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        f"{case.gflop / best[1]:.0f} of {rate:.0f} ({case.gflop / best[1] / rate:.0%})",
        f"{difference:.1e}",
        f"{first_start:.0f}",
    ]


def resident(peak: bool) -> float:
    """MB that this process holds, now or at most since the mark was reset."""
    key = "VmHWM" if peak else "VmRSS"
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def print_peak(case: Case, side: str) -> None:
    """In a process of its own: what the second run takes above the loaded, compiled model."""
    run = ours(case, "float32") if side == "ours" else theirs(case, "eager")
    run()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or the heap keeps what loading and compiling used, and the run hides in it
    before = resident(peak=False)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    run()
    print(max(0.0, resident(peak=True) - before), before)


def peaks(case: Case) -> Iterator[tuple[float, float]]:
    for side in ("theirs", "ours"):
        command = [sys.executable, __file__, "--peak", side, case.direction, f"{case.width}x{case.height}"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        above, loaded = map(float, told.split())
        yield above, loaded


def peak_row(case: Case) -> list[str]:
    (peer, peer_loaded), (mine, loaded) = peaks(case)
    figures = (peer, mine, peer / max(mine, 1e-9), peer_loaded, loaded)
    return [str(case), *(f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in figures)]


def table(heading: list[str], rows: Iterable[list[str]]) -> None:
    """Prints each row as soon as it is there: all of them take 20 minutes."""
    for line in chain((heading, ["---"] * len(heading)), rows):
        print(f"| {' | '.join(line)} |", flush=True)
    print()


def cases(sizes: str) -> list[Case]:
    parsed = [tuple(map(int, size.split("x"))) for size in sizes.split(",")]
    return [Case(direction, width, height) for width, height in parsed for direction in DIRECTIONS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="192x128,256x256", help="WIDTHxHEIGHT, comma-separated")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peers", default="", help="compile,autocast: also against these")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--peak", nargs=3, metavar=("SIDE", "DIRECTION", "SIZE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.peak:
        side, direction, size = chosen.peak
        print_peak(Case(direction, *map(int, size.split("x"))), side)
        return
    processor = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "")
    print(
        f"{time.strftime('%Y-%m-%d')}, {processor.partition(': ')[2] or platform.machine()}, {chosen.threads} threads"
    )
    print(f"jax {jax.__version__}, torch {torch.__version__}, best of {chosen.runs} runs in turn\n")
    heading = [
        "9 frames",
        "peer",
        "peer s",
        "ours s",
        "ratio (spread)",
        "GFLOP/s of one conv3d",
        "difference",
        "first s",
    ]
    for kind in filter(None, ("eager", *chosen.peers.split(","))):
        table(heading, (compare(case, kind, "float32", chosen.runs) for case in cases(chosen.sizes)))
    if not chosen.no_memory:
        heading = ["9 frames", "peak MB peer", "peak MB ours", "ratio", "loaded MB peer", "loaded MB ours"]
        table(heading, (peak_row(case) for case in cases(chosen.sizes)))


if __name__ == "__main__":
    main()
