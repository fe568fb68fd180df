"""Work memory of programs on the CPU, as the compiler reports it: what cogvae_cli/model/memory.py is fitted to.

Nothing runs. Work is what a program needs beside weights, chunk and caches; activations are those of the widest level.

    python benchmarks/cpu_compile.py                                    the full-size network, about two minutes
    python benchmarks/cpu_compile.py --model tiny --size 480x272
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402  after its platform was chosen

from cogvae_cli.model.chunks import LENGTHS, frames_of  # noqa: E402
from cogvae_cli.model.config import VAEConfig  # noqa: E402
from cogvae_cli.model.form import Form  # noqa: E402
from cogvae_cli.model.memory import WORK  # noqa: E402
from cogvae_cli.model.numerics import Numerics  # noqa: E402
from cogvae_cli.pipeline.options import parse_size  # noqa: E402
from cogvae_cli.pipeline.plan import PARTS, Direction  # noqa: E402

HEADING = ("size", "direction", "dtype", "chunk", "work MB", "in activations", "the estimate's", "compile s")


def config_of(model: str) -> VAEConfig:
    """The full-size network, or the built-in model."""
    if model == "full":
        return VAEConfig()
    path = ROOT / "cogvae_cli/assets/tiny/config.json"
    return VAEConfig.from_diffusers(json.loads(path.read_text(encoding="utf-8")), model)


def rows(config: VAEConfig, size: str, direction: Direction, dtype: str) -> list[list[str]]:
    """One line for the first chunk's program and one for the later ones'."""
    width, height = parse_size(size)
    part, numerics = PARTS[direction], Numerics(dtype)
    form = Form.of(config, numerics, numerics)
    lines = []
    for program in form.programs(part, (height, width), LENGTHS[part]):
        _, found = program.compile(lambda tree: tree)
        frames = program.length if part == "encoder" else frames_of(program.length)
        itemsize = numerics.array_dtype.itemsize
        activations = frames * height * width * config.block_out_channels[0] * itemsize
        lines.append(
            [
                size,
                direction,
                dtype,
                "later" if program.later else "first",
                f"{found.temp / 1e6:.0f}",
                f"{found.temp / activations:.1f}",
                f"{WORK['cpu', part, program.later][itemsize == 2]}",
                f"{found.compile_seconds:.0f}",
            ]
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("full", "tiny"), default="full")
    parser.add_argument("--size", default="192x128", help="WIDTHxHEIGHT")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    chosen = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, jax {jax.__version__}, {chosen.model}\n")
    for line in (HEADING, ["---"] * len(HEADING)):
        print(f"| {' | '.join(line)} |")
    directions: tuple[Direction, ...] = ("encode", "decode")
    for dtype, direction in product(chosen.dtypes.split(","), directions):
        for line in rows(config_of(chosen.model), chosen.size, direction, dtype):
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
