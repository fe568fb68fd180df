"""What is compiled for which platform."""

from __future__ import annotations

import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest
from random_weights import TINY

from cogvae_cli.model.chunks import LENGTHS
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.programs import Program
from cogvae_cli.model.sharding import mesh_for
from cogvae_cli.model.vae import Network, encode_step

ENCODER = Network(TINY, "encoder", Numerics())
DECODER = Network(TINY, "decoder", Numerics("bfloat16", "default"))


def _lowered(platform: str) -> str:
    frames = jax.ShapeDtypeStruct((1, 9, 64, 96, 3), jnp.uint8)
    traced = encode_step.trace(ENCODER.shapes(), frames, None, network=ENCODER)
    return traced.lower(lowering_platforms=(platform,)).as_text()


def _space_dims(text: str) -> set[int]:
    """Over how many axes the convolutions of a lowered program slide."""
    windows = re.findall(r"stablehlo.convolution.*?window = \{stride = \[([\d, ]*)\]", text)
    assert windows, "the program holds no convolution at all"
    return {len(window.split(",")) for window in windows}


def test_the_program_for_tpu_and_gpu_holds_3d_convolutions_and_the_one_for_cpu_2d_ones() -> None:
    assert _space_dims(_lowered("tpu")) == {2, 3}  # 2-D: the resampling
    assert _space_dims(_lowered("cuda")) == {2, 3}
    assert _space_dims(_lowered("cpu")) == {2}


def test_float32_products_ask_the_tpu_for_highest_precision() -> None:
    text = _lowered("tpu")
    products = re.findall(r"stablehlo\.(?:convolution|dot_general).*", text)
    assert len(products) == 19  # 1x1x1 convolutions, 3-D and 2-D ones; alike ones share a function
    assert all(line.count("HIGHEST") == 2 for line in products), "a product without HIGHEST precision"


THREE_AXES = re.compile(r"convolution\(.*window=\{size=\d+x\d+x\d+")
BETWEEN_CHIPS = re.compile(r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(")


@pytest.mark.tpu
@pytest.mark.parametrize("topology", ["v5e:2x2", "v6e:2x2"])
@pytest.mark.parametrize("chips", [1, 4])
@pytest.mark.parametrize("network", [ENCODER, DECODER], ids=["encoder", "decoder"])
def test_a_later_chunk_compiles_for_tpus(network: Network, chips: int, topology: str) -> None:
    """As 3-D convolutions; between chips go the edges of strips and the sums of norms, and never whole arrays."""
    from cogvae_cli.pipeline.topology import devices_of, one_chip

    mesh = mesh_for(devices_of(topology)[:chips], (8, 12))
    program = Program(dataclasses.replace(network, mesh=mesh).in_strips(64), LENGTHS[network.part][1], True, 64, 96)
    text = program.lower(one_chip(topology) if chips == 1 else lambda tree: tree).compile().as_text()
    assert THREE_AXES.search(text)
    expected = set() if chips == 1 else {"all-reduce", "collective-permute"}
    assert set(BETWEEN_CHIPS.findall(text)) == expected
