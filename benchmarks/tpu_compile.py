"""What the compiler says of the full-size network's programs on TPUs: memory, traffic, work, and the time to compile.

Compiled ahead of time; no TPU is needed, the extra `tpu` is. Figures are those of each chip. The roofline time is the
longer of work at the chip's peak and traffic at its bandwidth: no run is faster. Cycles are the sum of the compiler's
own estimates for the program's instructions; they tell two ways to compile one program apart.

    python benchmarks/tpu_compile.py                                      all of them, which takes hours on two cores
    python benchmarks/tpu_compile.py --sizes 720x480 --chips v5e --dtypes bfloat16
    python benchmarks/tpu_compile.py --tile 360x240 --sizes 720x480       one tile of each
    python benchmarks/tpu_compile.py --sharing 1,4 --sizes 720x480        a frame on one chip and shared by four
    python benchmarks/tpu_compile.py --option xla_tpu_scoped_vmem_limit_kib=16384    otherwise than the product compiles
    JAX_OPTIMIZATION_LEVEL=O1 python benchmarks/tpu_compile.py ...        compiled in less time, to slower programs
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import re
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402  after its platform was chosen

from cogvae_cli.model.chunks import LENGTHS  # noqa: E402
from cogvae_cli.model.config import VAEConfig  # noqa: E402
from cogvae_cli.model.form import Form  # noqa: E402
from cogvae_cli.model.memory import need  # noqa: E402
from cogvae_cli.model.numerics import Numerics  # noqa: E402
from cogvae_cli.model.programs import ON_TPU  # noqa: E402
from cogvae_cli.model.sharding import shape_of  # noqa: E402
from cogvae_cli.pipeline.options import TileOptions, parse_size  # noqa: E402
from cogvae_cli.pipeline.plan import PARTS, Direction  # noqa: E402
from cogvae_cli.pipeline.topology import FLOAT32_PASSES, chip_of, devices_of, one_chip  # noqa: E402

HEADING = (
    "chips",
    "size",
    "direction",
    "dtype",
    "chunk",
    "work GB",
    "total GB",
    "estimate GB",
    "off by",
    "traffic GB",
    "TFLOP",
    "roofline s",
    "M cycles",
    "compile s",
    "of processors",
    "between chips",
)


TOPOLOGIES = {1: "2x2", 2: "2x2", 4: "2x2", 8: "2x4"}
"""Of so many chips."""


def rows(chip: str, sharing: int, size: str, direction: Direction, dtype: str, tile: str) -> list[list[str]]:
    """One line for the first chunk's program and one for the later ones'."""
    width, height = parse_size(size)
    part, lengths = PARTS[direction], LENGTHS[PARTS[direction]]
    numerics = Numerics(dtype)
    form = Form.of(VAEConfig(), numerics, numerics, in_strips=True).tiled(TileOptions(tile).tiling())
    topology, facts = f"{chip}:{TOPOLOGIES[sharing]}", chip_of(chip)
    place = one_chip(topology)
    if sharing > 1:
        form, place = dataclasses.replace(form, devices=tuple(devices_of(topology)[:sharing])), _as_they_are
    lines = []
    for program in form.programs(part, (height, width), lengths):
        start = time.process_time()
        executable, found = program.compile(place)
        processor = time.process_time() - start
        # One tile's programs don't hold the caches of the others, so the estimate is of one.
        estimate = need([form.programs(part, (height, width), lengths)[0], program], 1, (height, width), "tpu")
        peak = facts.tflops / (FLOAT32_PASSES if dtype == "float32" else 1)
        roofline = max(found.flops / 1e12 / peak, found.traffic / 1e9 / facts.bandwidth)
        lines.append(
            [
                chip if sharing == 1 else f"{chip} {shape_of(program.network.mesh)}",
                size if tile == "off" else f"{size} in {tile}",
                direction,
                dtype,
                "later" if program.later else "first",
                f"{found.temp / 1e9:.2f}",
                f"{found.total / 1e9:.2f}",
                f"{estimate.total / 1e9:.2f}",
                f"{estimate.total / found.total - 1:+.0%}",
                f"{found.traffic / 1e9:.0f}",
                f"{found.flops / 1e12:.1f}",
                f"{roofline:.2f}",
                f"{cycles_of(executable.as_text()) / 1e6:.0f}",
                f"{found.compile_seconds:.0f}",
                f"{processor:.0f}",
                between_chips(executable.as_text()),
            ]
        )
    return lines


MOVES = re.compile(r"= \(?(\w+)\[([\d,]*)\].*? (all-\w+|collective-permute|reduce-scatter)(?:-start)?\(")


def between_chips(program: str) -> str:
    """What crosses between chips in a compiled program: how many of each kind, and MB of their results on a chip."""
    found: dict[str, list[float]] = {}
    for dtype, sizes, kind in MOVES.findall(program):
        count = math.prod(int(size) for size in sizes.split(",") if size)
        found.setdefault(kind, []).append(count * int(re.sub(r"\D", "", dtype) or 8) / 8e6)
    return ", ".join(f"{len(each)} {kind} ({sum(each):.1f} MB)" for kind, each in sorted(found.items())) or "nothing"


CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


def cycles_of(program: str) -> int:
    """The sum of what the compiler estimates for each instruction of a compiled program."""
    return sum(map(int, CYCLES.findall(program)))


def _as_they_are(tree: Any) -> Any:
    """A mesh has placed them."""
    return tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="720x480,1360x768", help="WIDTHxHEIGHT, comma-separated")
    parser.add_argument("--chips", default="v5e,v6e")
    parser.add_argument("--sharing", default="1", help="how many chips share a frame: 1, 2, 4 or 8, comma-separated")
    parser.add_argument("--directions", default="encode,decode")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--tile", default="off", help="WIDTHxHEIGHT: compile one tile instead of the whole frame")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the compiler; may be repeated")
    chosen = parser.parse_args()
    ON_TPU.update(option.split("=", 1) for option in chosen.option)
    print(f"{time.strftime('%Y-%m-%d')}, jax {jax.__version__}, {os.cpu_count()} cores\n")
    for line in (HEADING, ["---"] * len(HEADING)):
        print(f"| {' | '.join(line)} |")
    names = (option.split(",") for option in (chosen.chips, chosen.sizes, chosen.directions, chosen.dtypes))
    shared = [int(count) for count in chosen.sharing.split(",")]
    for (chip, size, direction, dtype), sharing in product(product(*names), shared):
        for line in rows(chip, sharing, size, direction, dtype, chosen.tile):
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
