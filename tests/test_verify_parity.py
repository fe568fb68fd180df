"""`cogvae verify` against diffusers itself: equal networks pass, and a fault is found where it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from random_weights import FULL, TINY, random_tensors
from safetensors.numpy import save_file

from cogvae_cli.cli.main import main
from cogvae_cli.errors import UsageError
from cogvae_cli.model.autoencoder import VAE
from cogvae_cli.model.config import ModelSource, VAEConfig
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.pipeline.options import TileOptions
from cogvae_cli.pipeline.verify import VerifyOptions, verify_model

pytestmark = pytest.mark.parity

SMALL = VerifyOptions(frames=17, width=48, height=32)


def random_vae(config: VAEConfig) -> VAE:
    source = ModelSource("random", None, "0" * 64, ())
    return VAE(config, random_tensors(config), source, encode=Numerics(), decode=Numerics())


@pytest.fixture(scope="module")
def told() -> dict:
    return verify_model("tiny", options=SMALL).as_dict()


def test_the_built_in_model_is_that_of_diffusers_layer_by_layer(told):
    """Measured: 1.3e-6 for the worst layer, 8.3e-7 end to end.

    Log-variances, of about -12 each, are 1.0e-5 from torch's float32 by rounding alone: 3.8e-6 from its float64.
    """
    assert told["passed"] is True
    assert told["layer_count"] == 169
    assert len(told["layers"]) == 2 * 169
    mean, logvar, frames = told["ends"]
    assert [mean["name"], logvar["name"], frames["name"]] == ["mean", "logvar", "frames"]
    assert max(row["relative"] for row in (*told["layers"], mean, frames)) < 1e-5
    nearest = logvar["relative"] if logvar["relative_to_float64"] is None else logvar["relative_to_float64"]
    assert nearest < 1e-5
    assert logvar["relative"] < 3e-5


def test_layers_come_in_the_order_of_computing_chunk_by_chunk(told):
    names = [(row["name"], row["chunk"]) for row in told["layers"]]
    order = [
        ("encoder.conv_in", 0),
        ("encoder.down_blocks.0.resnets.0.norm1", 0),
        ("encoder.down_blocks.0.resnets.0.conv1", 0),
        ("encoder.down_blocks.0.resnets.0", 0),
        ("encoder.down_blocks.0.downsamplers.0", 0),
        ("encoder.conv_out", 0),
        ("encoder.conv_in", 1),
        ("decoder.conv_in", 0),
        ("decoder.mid_block.resnets.0.norm1.norm_layer", 0),
        ("decoder.mid_block", 0),
        ("decoder.up_blocks.0", 0),
        ("decoder.conv_out", 1),
    ]
    assert sorted(order, key=names.index) == order
    assert names[-1] == ("decoder.conv_out", 1)


def test_every_layer_of_diffusers_that_has_weights_is_compared(told):
    from reference import reference_vae

    names = {row["name"] for row in told["layers"]}
    modules = reference_vae(TINY).named_modules()
    with_weights = {name.removesuffix(".conv") for name, module in modules if module._parameters}
    assert with_weights <= names
    assert {row["shape"][-1] for row in told["layers"]} >= {3, 16, 32, 64}


def test_a_wrong_kernel_is_named_as_the_first_layer_over_the_tolerance():
    vae = random_vae(TINY)
    _, params = vae.network("decoder")
    kernel = params["up_blocks"][1]["resnets"][0]["conv2"]["conv"]["weight"]
    kernel.set_value(kernel.get_value() * np.float32(1.001))
    result = verify_model(vae, options=SMALL)
    assert result.first_over is not None
    assert (result.first_over.name, result.first_over.chunk) == ("decoder.up_blocks.1.resnets.0.conv2", 0)
    assert result.first_over.relative > 1e-4
    assert not [row for row in result.layers if row.name.startswith("encoder.") and not row.within(1e-5)]


@pytest.mark.parametrize("frames", [1, 13])
def test_images_and_an_even_number_of_latents_are_compared_too(frames):
    result = verify_model(random_vae(TINY), options=VerifyOptions(frames=frames, width=48, height=32))
    result.check()
    assert {row.chunk for row in result.layers} == ({0} if frames == 1 else {0, 1})


def test_reference_tiles_are_compared_layer_by_layer_one_after_the_other():
    """Two rows of three tiles, the last of each a sliver; and the blended whole."""
    tiles = TileOptions("40x48", layout="reference")
    result = verify_model(random_vae(TINY), options=VerifyOptions(tiles=tiles, frames=9, width=72, height=48))
    result.check()
    assert (result.tiles.rows, result.tiles.columns) == (2, 3)
    for part in ("encoder.", "decoder."):
        tiles = [row.tile for row in result.layers if row.name.startswith(part)]
        assert tiles == sorted([*range(6)] * (len(tiles) // 6))
    assert max(row.relative for row in result.ends) < 1e-5
    names = [row.name for row in result.layers]
    assert names.count("decoder.conv_out") == 6


def test_uniform_tiles_are_refused_for_diffusers_has_none():
    with pytest.raises(UsageError, match="knows no uniform tiles"):
        verify_model("tiny", options=VerifyOptions(tiles=TileOptions("40x48")))


def test_the_command_prints_a_line_a_layer_and_leaves_with_0(capsys):
    assert main(["verify", "--model", "tiny", "--size", "48x32", "--frames", "9", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["layer", "tile/chunk", "shape"]
    assert sum(line.startswith(("encoder.", "decoder.")) for line in lines) == 169
    assert "verdict  within 1e-05" in lines


def test_over_the_tolerance_the_command_prints_all_and_leaves_with_5(capsys):
    arguments = ["verify", "--model", "tiny", "--size", "48x32", "--frames", "1", "--dtype", "bfloat16", "--json", "-q"]
    assert main(arguments) == 5
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (told["passed"], told["first_over"]["name"]) == (False, "encoder.conv_in")
    assert len(told["layers"]) == 169
    lines = err.splitlines()
    assert lines[0].startswith("error: encoder.conv_in (chunk 0) is the first over the tolerance")
    assert lines[1].endswith("computing in bfloat16 needs a larger --tolerance")
    assert len(lines) == 2


def test_the_full_network_is_that_of_diffusers_layer_by_layer(tmp_path):
    """From a folder on disk, as a user's own model. The bound is asked of float64 where torch itself is off by more."""
    (tmp_path / "config.json").write_text(json.dumps(FULL.to_diffusers()))
    save_file(random_tensors(FULL), tmp_path / "diffusion_pytorch_model.safetensors")
    result = verify_model(str(tmp_path), options=VerifyOptions(frames=9, width=64, height=64))
    result.check()
    assert len(result.layers) == 297
    assert max(row.relative for row in result.ends) < 1e-5
