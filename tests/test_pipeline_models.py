"""Which model decodes: the one that made the latents, found by its record, or the one that is given."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from by_hand import frames_of
from media import write_numbered
from safetensors.numpy import load_file, save_file

import cogvae_cli as cogvae
from cogvae_cli.errors import LatentsError, NonFiniteError, UsageError
from cogvae_cli.io.latents import read_latents
from cogvae_cli.pipeline.decode import DecodeOptions
from cogvae_cli.pipeline.encode import EncodeOptions
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.video_options import VideoOptions

PICTURE_TOLERANCE = 0.03
"""Mean levels of 255; 0.006 was measured for float16."""

WEIGHTS = "diffusion_pytorch_model.safetensors"


class Notices(Progress):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def notice(self, text: str) -> None:
        self.seen.append(text)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("models") / "in.mp4", 9, (64, 48), Fraction(25))


@pytest.fixture(scope="module")
def latents(clip) -> Path:
    output = clip.with_name("z.npz")
    cogvae.encode_file(clip, output, model="tiny")
    return output


def copy_of_tiny(package: Path, folder: Path) -> Path:
    """The built-in model as one of the user's own."""
    return shutil.copytree(package / "assets" / "tiny", folder)


def with_tensor(model: Path, name: str, value: float) -> Path:
    """The model with every element of one tensor set to a value, in float32."""
    tensors = load_file(model / WEIGHTS)
    tensors[name] = np.full(tensors[name].shape, value, np.float32)
    save_file(tensors, model / WEIGHTS)
    return model


def test_the_file_functions_take_a_loaded_model_and_give_the_same(clip, latents, tmp_path):
    vae = cogvae.load("tiny")
    result = cogvae.encode_file(clip, tmp_path / "z.npz", model=vae)
    assert (tmp_path / "z.npz").read_bytes() == latents.read_bytes()
    assert (result.frames, result.latents_shape, result.model) == (9, (3, 6, 8, 16), vae.source)
    decoded = cogvae.decode_file(latents, tmp_path / "out.mp4", model=vae)
    assert (decoded.frames, decoded.width, decoded.height) == (9, 64, 48)


def test_every_figure_of_a_result_is_json(clip, latents, tmp_path):
    import json

    for result in (
        cogvae.encode_file(clip, tmp_path / "z.npz", model="tiny"),
        cogvae.decode_file(latents, tmp_path / "out.mp4"),
    ):
        values = result.as_dict()
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert values["schema_version"] == 1
        assert values["output_bytes"] == Path(values["output"]).stat().st_size
        assert values["seconds"] > 0


def test_a_loaded_model_takes_no_dtype(clip, tmp_path):
    with pytest.raises(UsageError, match="loaded already"):
        cogvae.encode_file(clip, tmp_path / "z.npz", model=cogvae.load("tiny"), options=EncodeOptions(dtype="bfloat16"))


def test_scaled_latents_are_the_latents_times_the_factor(clip, latents, tmp_path):
    cogvae.encode_file(clip, tmp_path / "scaled.npz", model="tiny", options=EncodeOptions(scaled=True))
    scaled, plain = read_latents(tmp_path / "scaled.npz"), read_latents(latents)
    assert (scaled.header.scaled, plain.header.scaled) == (True, False)
    factor = scaled.header.scaling_factor
    np.testing.assert_allclose(scaled.arrays["latents"], plain.arrays["latents"] * np.float32(factor), rtol=1e-6)
    assert abs(factor - 1) > 0.01


@pytest.mark.parametrize("options", [EncodeOptions(scaled=True), EncodeOptions(store_dtype="float16")])
def test_scaled_and_half_stored_latents_decode_to_the_same_picture(options, clip, latents, tmp_path):
    cogvae.encode_file(clip, tmp_path / "other.safetensors", model="tiny", options=options)
    lossless = DecodeOptions(video=VideoOptions(crf=0))  # x264 makes much of little differences
    cogvae.decode_file(tmp_path / "other.safetensors", tmp_path / "other.mp4", options=lossless)
    cogvae.decode_file(latents, tmp_path / "plain.mp4", options=lossless)
    difference = frames_of(tmp_path / "other.mp4").astype(int) - frames_of(tmp_path / "plain.mp4")
    assert np.abs(difference).mean() < PICTURE_TOLERANCE


def test_a_model_from_a_local_path_has_to_be_given_again(clip, package, tmp_path):
    model = copy_of_tiny(package, tmp_path / "my-model")
    cogvae.encode_file(clip, tmp_path / "z.npz", model=str(model))
    with pytest.raises(LatentsError, match="'my-model'") as caught:
        cogvae.decode_file(tmp_path / "z.npz", tmp_path / "out.mp4")
    assert "--model" in caught.value.hint
    cogvae.decode_file(tmp_path / "z.npz", tmp_path / "out.mp4", model=str(model))
    assert str(tmp_path).encode() not in (tmp_path / "z.npz").read_bytes()


def test_equal_weights_by_another_name_may_decode(latents, package, tmp_path):
    model = copy_of_tiny(package, tmp_path / "renamed")
    assert cogvae.decode_file(latents, tmp_path / "out.mp4", model=str(model)).frames == 9


def test_another_model_is_refused_unless_forced(latents, package, tmp_path):
    other = with_tensor(copy_of_tiny(package, tmp_path / "other"), "decoder.conv_out.conv.bias", 2)
    with pytest.raises(LatentsError, match="not other") as caught:
        cogvae.decode_file(latents, tmp_path / "out.mp4", model=str(other))
    assert "--force" in caught.value.hint
    assert not (tmp_path / "out.mp4").exists()
    cogvae.decode_file(latents, tmp_path / "out.mp4", model=str(other), options=DecodeOptions(force=True))
    assert (tmp_path / "out.mp4").exists()


def test_nan_out_of_the_encoder_is_an_error_that_names_the_frame(clip, package, tmp_path):
    broken = with_tensor(copy_of_tiny(package, tmp_path / "broken"), "encoder.conv_out.conv.weight", 3e38)
    with pytest.raises(NonFiniteError, match="frame 0"):
        cogvae.encode_file(clip, tmp_path / "z.npz", model=str(broken))
    assert not list(tmp_path.glob("*z.npz*"))


def test_inf_out_of_the_decoder_is_an_error_that_names_the_frame(latents, package, tmp_path):
    broken = with_tensor(copy_of_tiny(package, tmp_path / "broken"), "decoder.conv_out.conv.weight", 3e38)
    with pytest.raises(NonFiniteError, match="frame 0"):
        cogvae.decode_file(latents, tmp_path / "out.mp4", model=str(broken), options=DecodeOptions(force=True))
    assert not list(tmp_path.glob("*out.mp4*"))


def test_tiny_is_announced_as_a_toy_and_other_models_are_not(clip, package, tmp_path):
    tiny, other = Notices(), Notices()
    cogvae.encode_file(clip, tmp_path / "a.npz", model="tiny", progress=tiny)
    cogvae.encode_file(clip, tmp_path / "b.npz", model=str(copy_of_tiny(package, tmp_path / "mine")), progress=other)
    assert len([notice for notice in tiny.seen if "not CogVideoX's" in notice]) == 1
    assert not [notice for notice in other.seen if "CogVideoX" in notice]


def test_a_revision_without_a_model_is_refused(latents, tmp_path):
    with pytest.raises(UsageError, match="revision"):
        cogvae.decode_file(latents, tmp_path / "out.mp4", options=DecodeOptions(revision="main"))
