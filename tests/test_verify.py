"""What `verify` stands on and what needs no PyTorch: the trace of our layers, the figures, the refusals."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from random_weights import FULL, TINY, random_frames, random_latents, random_tensors

from cogvae_cli.cli.main import main
from cogvae_cli.errors import QualityError
from cogvae_cli.model import weights
from cogvae_cli.model.autoencoder import VAE
from cogvae_cli.model.chunks import Part
from cogvae_cli.model.config import ModelSource, VAEConfig
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.trace import layer_names, trace_step
from cogvae_cli.model.vae import Network
from cogvae_cli.pipeline.verify import clip_frames
from cogvae_cli.pipeline.verify_result import VerifyResult, compare_end, compare_layer, judged, rounding_alone

SOURCE = ModelSource("random", None, "0" * 64, ())
TOLERANCE = 1e-5

ANOTHER_PROGRAM = 5e-6
"""Largest difference between two programs that compute the same in other fusions."""


@pytest.fixture(scope="module")
def vae() -> VAE:
    return VAE(TINY, random_tensors(TINY), SOURCE, encode=Numerics(), decode=Numerics())


def count_of_layers(config: VAEConfig, part: Part) -> int:
    """By the architecture: convs at both ends, blocks, resnets with two norms and two convs, shortcuts, resampling."""
    blocks, depth = len(config.block_out_channels), config.layers_per_block + (part == "decoder")
    norm = 4 if part == "decoder" else 1  # a spatial norm, and in it norm_layer, conv_y and conv_b
    widths = config.block_out_channels[:: -1 if part == "decoder" else 1]
    shortcuts = sum(a != b for a, b in itertools.pairwise(widths))
    resnets = blocks * depth + 2
    return 2 + norm + (blocks + 1) + resnets * (1 + 2 * norm + 2) + shortcuts + (blocks - 1)


@pytest.mark.parametrize(("config", "counts"), [(TINY, (43, 126)), (FULL, (83, 214))], ids=["tiny", "full"])
def test_every_layer_of_the_network_has_a_name(config, counts):
    for part, count in zip(weights.PARTS, counts, strict=True):
        names = layer_names(Network(config, part, Numerics()))
        assert len(set(names)) == len(names) == count == count_of_layers(config, part)


@pytest.mark.parametrize("config", [TINY, FULL], ids=["tiny", "full"])
def test_every_tensor_belongs_to_a_layer_that_is_compared(config):
    names = {name for part in weights.PARTS for name in layer_names(Network(config, part, Numerics()))}
    owners = {key.rpartition(".")[0].removesuffix(".conv") for key in weights.torch_shapes(config)}
    assert owners <= names


def test_the_trace_has_every_layer_and_the_numbers_of_the_network(vae):
    network, params = vae.network("encoder")
    chunk = random_frames(9, 16, 24)
    layers, caches = trace_step(params, chunk, None, network=network)
    assert set(layers) == set(layer_names(network))
    expected, expected_caches = vae.encode_chunk(chunk, None)
    moments = np.concatenate([expected.mean, expected.logvar], axis=-1)
    np.testing.assert_allclose(layers["encoder.conv_out"], moments, rtol=0, atol=ANOTHER_PROGRAM)
    for ours, theirs in zip(jax.tree.leaves(caches), jax.tree.leaves(expected_caches), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=10 * ANOTHER_PROGRAM)


def test_each_layer_is_noted_under_its_own_name(vae):
    """Layers run by themselves on what came before them in the trace give what the trace says."""
    network, params = vae.network("decoder")
    latents = jnp.asarray(random_latents(3, 2, 3))
    layers, _ = trace_step(params, latents, None, network=network)
    decoder = nnx.merge(network.structure(), params)
    before = layers["decoder.up_blocks.0.resnets.1"]
    expected = decoder.up_blocks[0].upsamplers[0](before)
    np.testing.assert_allclose(layers["decoder.up_blocks.0.upsamplers.0"], expected, rtol=0, atol=ANOTHER_PROGRAM)
    norm = decoder.norm_out
    path = "decoder.norm_out"
    np.testing.assert_allclose(layers[f"{path}.conv_y"], norm.conv_y(latents), rtol=0, atol=ANOTHER_PROGRAM)
    np.testing.assert_allclose(layers[f"{path}.conv_b"], norm.conv_b(latents), rtol=0, atol=ANOTHER_PROGRAM)
    plain = norm.norm_layer(layers["decoder.up_blocks.3"])
    np.testing.assert_allclose(layers[f"{path}.norm_layer"], plain, rtol=0, atol=ANOTHER_PROGRAM)
    assert layers[f"{path}.conv_y"].shape[1:4] == (3, 2, 3)
    assert layers[path].shape[1:4] == (9, 16, 24)


def test_a_trace_leaves_the_modules_as_they_were(vae):
    network, params = vae.network("encoder")
    jax.eval_shape(functools.partial(trace_step, network=network), params, random_frames(1, 16, 24), None)
    kinds = {type(module).__name__ for _, module in nnx.iter_modules(nnx.merge(network.structure(), params))}
    assert {"CausalConv3d", "GroupNorm", "ResnetBlock"} <= kinds
    assert not [kind for kind in kinds if kind.startswith("Watched")]


def test_the_figures_of_a_layer_are_those_of_their_definitions(rng):
    theirs = rng.normal(size=(1, 2, 3, 4, 5)).astype(np.float32)
    ours = theirs.copy()
    ours[0, 1, 2, 3, 4] += np.float32(0.5)
    row = compare_layer("encoder.conv_in", 1, ours, theirs)
    assert row.max_abs == pytest.approx(0.5, rel=1e-6)
    assert row.mean_abs == pytest.approx(0.5 / 120, rel=1e-6)
    assert row.scale == pytest.approx(np.abs(theirs).max())
    assert row.relative == pytest.approx(0.5 / np.abs(theirs).max())
    a, b = ours.astype(np.float64).ravel(), theirs.astype(np.float64).ravel()
    assert row.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert (row.name, row.chunk, row.shape) == ("encoder.conv_in", 1, (1, 2, 3, 4, 5))


@pytest.mark.parametrize(("size", "scale"), [(0.1, 1.0), (16.0, 16.0)])
def test_end_to_end_the_bound_is_absolute_up_to_a_deviation_of_one(size, scale):
    around = np.float32(100)  # a mean makes no bound wider
    theirs = around + np.float32(size) * np.array([1, -1, 1, -1], np.float32).reshape(1, 1, 2, 2, 1)
    row = compare_end("logvar", theirs + np.float32(0.25), theirs)
    assert row.scale == pytest.approx(scale)
    assert row.relative == pytest.approx(0.25 / scale)


def test_another_shape_is_no_small_error(rng):
    with pytest.raises(RuntimeError, match=r"conv_in is \[1, 2, 3, 4, 5\]"):
        compare_layer("conv_in", 0, np.zeros((1, 2, 3, 4, 5)), np.zeros((1, 2, 4, 3, 5)))


def result_of(*errors: float) -> VerifyResult:
    """Layers a, b, c, ... that are off by so much on a scale of 1, and ends that are equal."""
    theirs = np.linspace(-1, 1, 24).reshape(1, 1, 3, 4, 2)
    layers = tuple(compare_layer("abcdef"[i], 0, theirs + error, theirs) for i, error in enumerate(errors))
    return VerifyResult(
        model=SOURCE,
        width=96,
        height=64,
        tiles=None,
        frames=17,
        encode_dtype="float32",
        decode_dtype="float32",
        device="cpu",
        tolerance=TOLERANCE,
        layers=layers,
        ends=(compare_end("mean", theirs, theirs),),
        versions={},
        seconds=1.0,
    )


def test_the_first_layer_over_the_tolerance_is_named_not_the_worst():
    result = result_of(1e-6, 3e-5, 1e-3)
    with pytest.raises(QualityError, match=r"^b \(chunk 0\) is the first over the tolerance of 1e-05"):
        result.check()
    assert result.as_dict()["first_over"] == {"name": "b", "tile": None, "chunk": 0}


def test_within_the_tolerance_nothing_is_raised():
    result = result_of(1e-6, 9e-6)
    result.check()
    assert result.as_dict()["passed"] is True


def test_nan_is_over_any_tolerance_and_null_in_json():
    result = result_of(1e-6, math.nan)
    with pytest.raises(QualityError, match=r"^b "):
        result.check()
    told = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert told["layers"][1]["relative"] is None


def test_float64_judges_what_rounding_alone_can_explain():
    result, exact = result_of(1e-6, 3e-5), result_of(1e-6, 4e-6)
    assert rounding_alone(result.layers, TOLERANCE)
    layers = judged(result.layers, exact.layers, TOLERANCE)
    assert layers[0].relative_to_float64 is None
    assert layers[1].relative_to_float64 == pytest.approx(4e-6, rel=1e-3)
    dataclasses.replace(result, layers=layers).check()
    still = dataclasses.replace(result, layers=judged(result.layers, result.layers, TOLERANCE))
    with pytest.raises(QualityError, match=r"^b "):
        still.check()


@pytest.mark.parametrize("errors", [(1e-6, 9e-6), (3e-5, 1e-3), (math.nan,)])
def test_float64_is_not_asked_when_all_is_well_or_an_error_is_no_rounding(errors):
    assert not rounding_alone(result_of(*errors).layers, TOLERANCE)


def test_the_input_is_natural_and_no_frame_is_like_another():
    frames = clip_frames(17, 96, 64)
    assert (frames.shape, frames.dtype) == ((17, 64, 96, 3), np.uint8)
    assert min(frames.std(axis=(1, 2)).min(), frames.std(axis=0).mean()) > 1
    assert all((a != b).any() for a, b in itertools.pairwise(frames))


def test_more_frames_than_the_clip_holds_run_backwards():
    frames = clip_frames(53, 24, 16)
    np.testing.assert_array_equal(frames[49:], frames[47:43:-1])
    assert (frames[48] != frames[49]).any()


def test_without_torch_one_line_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["verify", "--model", "tiny"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error: verify compares with torch and diffusers, and torch is missing",
        "hint: pip install 'torch' 'diffusers'",
    ]


@pytest.mark.parametrize("size", ["96", "95x64", "0x64", "96*64"])
def test_a_size_that_cannot_be_compared_is_a_usage_error(size, capsys):
    assert main(["verify", "--model", "tiny", "--size", size]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert size in err.splitlines()[0]
    assert "say " in err.splitlines()[1]
