"""Traffic and work memory of one residual block on a TPU, by how many strips its frames are cut into.

A block of 128 channels on a later chunk of 8 frames of 720x480, bfloat16: the last one of the decoder, the first one of
the encoder. Compiled ahead of time; no TPU is needed, the extra `tpu` is. Cycles are the sum of the compiler's own
estimates, times are those of compiling.

    python benchmarks/tpu_block.py        as the product cuts them, whole, and others
    python benchmarks/tpu_block.py --option xla_jf_convolution_performance_target=0.9
    JAX_OPTIMIZATION_LEVEL=O1 python benchmarks/tpu_block.py
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402  after its platform was chosen
import jax.numpy as jnp  # noqa: E402
from flax import nnx  # noqa: E402
from tpu_compile import cycles_of  # noqa: E402

from cogvae_cli.model import strips  # noqa: E402
from cogvae_cli.model.config import SPACE  # noqa: E402
from cogvae_cli.model.layers import GroupNorm, ResnetBlock, SpatialNorm3D  # noqa: E402
from cogvae_cli.model.numerics import Numerics  # noqa: E402
from cogvae_cli.model.programs import ON_TPU  # noqa: E402
from cogvae_cli.pipeline.options import parse_size  # noqa: E402
from cogvae_cli.pipeline.topology import one_chip  # noqa: E402

CHANNELS, GROUPS, LATENTS, FRAMES = 128, 32, 16, 8
TRIED = "1,8,15,60"


def block_of(part: str, count: int) -> Any:
    """Structure and parameters, as shapes."""
    numerics = Numerics("bfloat16", strips=count)

    def made() -> ResnetBlock:
        rngs = nnx.Rngs(0)

        def norm(channels: int) -> GroupNorm | SpatialNorm3D:
            if part == "encoder":
                return GroupNorm(channels, GROUPS, eps=1e-6, numerics=numerics)
            return SpatialNorm3D(channels, LATENTS, GROUPS, numerics=numerics, rngs=rngs)

        return ResnetBlock(CHANNELS, CHANNELS, norm=norm, numerics=numerics, rngs=rngs)

    return nnx.split(nnx.eval_shape(made))


def compiled(part: str, count: int, size: tuple[int, int], chip: str, options: dict[str, str]) -> Any:
    """The block's program, by the product's compiler options and these."""
    width, height = size
    structure, params = block_of(part, count)
    rows = height // count

    def shape(*sizes: int) -> Any:
        return jax.ShapeDtypeStruct(sizes, jnp.bfloat16)  # type: ignore[no-untyped-call]

    x, past = (shape(count, length, rows, width, CHANNELS) for length in (FRAMES, 2))
    latents = shape(count, 2, rows // SPACE, width // SPACE, LATENTS) if part == "decoder" else None

    def run(params: Any, x: jax.Array, latents: jax.Array | None, caches: Any) -> Any:
        return nnx.merge(structure, params)(x, latents, caches)

    arguments = one_chip(f"{chip}:2x2")((params, x, latents, (past, past)))
    return jax.jit(run, donate_argnums=3).lower(*arguments).compile(compiler_options=ON_TPU | options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chip", default="v5e")
    parser.add_argument("--size", default="720x480", help="WIDTHxHEIGHT")
    parser.add_argument("--parts", default="decoder,encoder")
    parser.add_argument("--strips", default=TRIED, help="how many, comma-separated; the product's own are marked")
    parser.add_argument("--option", action="append", default=[], help="NAME=VALUE of the compiler; may be repeated")
    chosen = parser.parse_args()
    options = dict(option.split("=", 1) for option in chosen.option)
    size = parse_size(chosen.size)
    latent_rows = size[1] // SPACE
    own = {"encoder": strips.for_encoding(latent_rows), "decoder": strips.for_decoding(latent_rows)}
    print(f"{time.strftime('%Y-%m-%d')}, jax {jax.__version__}, {chosen.chip}, {chosen.size}\n")
    print("| block of the | strips | traffic GB | work GB | M cycles | compile s | of processors |")
    print("|---|---|---|---|---|---|---|")
    for part in chosen.parts.split(","):
        for count in map(int, chosen.strips.split(",")):
            if part == "decoder" and latent_rows % count:
                continue  # its latents are cut too
            start, processor = time.perf_counter(), time.process_time()
            program = compiled(part, count, size, chosen.chip, options)
            seconds, processor = time.perf_counter() - start, time.process_time() - processor
            cycles = cycles_of(program.as_text())
            traffic, work = program.cost_analysis()["bytes accessed"], program.memory_analysis().temp_size_in_bytes
            mark = ", as the product" if count == own[part] else ""
            figures = f"{traffic / 1e9:.1f} | {work / 1e9:.2f} | {cycles / 1e6:.1f} | {seconds:.0f} | {processor:.0f}"
            print(f"| {part} | {count}{mark} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
