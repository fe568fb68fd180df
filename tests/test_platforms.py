"""What is compiled for which platform."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_weights import TINY

from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.vae import Network, decode_step, encode_step

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


def _on_tpu(name: str) -> Callable[[object], object]:
    """Puts a tree of shapes on one chip of that topology, for compiling ahead of time without a TPU."""
    # Nothing here touches a chip, so another process that holds libtpu is no obstacle, nor is a machine without any.
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    topology = topologies.get_topology_desc(platform="tpu", topology_name=name)
    place = NamedSharding(Mesh(np.array(topology.devices[:1]), ("one",)), PartitionSpec())

    def put(tree: object) -> object:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree)

    return put


THREE_AXES = re.compile(r"convolution\(.*window=\{size=\d+x\d+x\d+")


@pytest.mark.tpu
def test_the_encoder_compiles_for_a_v5e_and_holds_3d_convolutions() -> None:
    put = _on_tpu("v5e:2x2")
    first = jax.ShapeDtypeStruct((1, 9, 64, 96, 3), jnp.uint8)
    later = jax.ShapeDtypeStruct((1, 8, 64, 96, 3), jnp.uint8)
    _, caches = jax.eval_shape(
        lambda params, chunk: encode_step(params, chunk, None, network=ENCODER), ENCODER.shapes(), first
    )
    program = encode_step.lower(put(ENCODER.shapes()), put(later), put(caches), network=ENCODER).compile()
    assert THREE_AXES.search(program.as_text())


@pytest.mark.tpu
def test_the_decoder_compiles_for_a_v6e_and_holds_3d_convolutions() -> None:
    put = _on_tpu("v6e:2x2")
    latents = jax.ShapeDtypeStruct((1, 3, 8, 12, 16), jnp.float32)
    program = decode_step.lower(put(DECODER.shapes()), put(latents), None, network=DECODER, pixels=True).compile()
    assert THREE_AXES.search(program.as_text())
