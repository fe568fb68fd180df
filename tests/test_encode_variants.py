"""What is stored of the posterior, how many frames are taken, and which tiles: choices of encoding and decoding."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from by_hand import frames_of
from foreign_samples import laid_out, pt
from media import write_numbered

import cogvae_cli as cogvae
from cogvae_cli.cli.main import main
from cogvae_cli.errors import UsageError
from cogvae_cli.io.latents import read_latents
from cogvae_cli.io.latents_header import TilesHeader
from cogvae_cli.io.video_reader import probe
from cogvae_cli.pipeline.convert import convert_file
from cogvae_cli.pipeline.convert_plan import ConvertOptions
from cogvae_cli.pipeline.decode import DecodeOptions, decode_file
from cogvae_cli.pipeline.encode import EncodeOptions, encode_file
from cogvae_cli.pipeline.importing import ImportOptions
from cogvae_cli.pipeline.options import TileOptions
from cogvae_cli.pipeline.video_options import VideoOptions

SIZE = (48, 32)


@pytest.fixture(scope="module")
def vae():
    return cogvae.load("tiny")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """13 frames: no 8k+1."""
    return write_numbered(tmp_path_factory.mktemp("variants") / "in.mkv", 13, SIZE, Fraction(25))


@pytest.fixture(scope="module")
def moments(clip, vae) -> Path:
    output = clip.with_name("moments.npz")
    encode_file(clip, output, model=vae, options=EncodeOptions(posterior="moments"))
    return output


def run(*arguments: object) -> int:
    return main([*map(str, arguments), "-q"])


def test_moments_are_the_apis_mean_and_logvar(clip, moments, vae):
    pixels = frames_of(clip)
    padded = np.concatenate([pixels, np.repeat(pixels[-1:], 4, axis=0)])
    posterior = vae.encode((padded[None] / np.float32(127.5)).astype(np.float32) - 1)
    stored = read_latents(moments)
    assert (stored.header.posterior, stored.header.seed) == ("moments", None)
    np.testing.assert_allclose(stored.arrays["mean"], posterior.mean[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(stored.arrays["logvar"], posterior.logvar[0], rtol=1e-6)  # about -11; 3e-7 was measured


def test_a_sample_is_the_same_whether_drawn_at_encoding_converting_or_decoding(clip, moments, vae, tmp_path):
    options = EncodeOptions(posterior="sample", seed=7)
    encoded = encode_file(clip, tmp_path / "encoded.npz", model=vae, options=options)
    assert (encoded.posterior, encoded.seed) == ("sample", 7)
    convert_file(moments, tmp_path / "converted.npz", options=ConvertOptions(posterior="sample", seed=7))
    one, other = (read_latents(tmp_path / name) for name in ("encoded.npz", "converted.npz"))
    np.testing.assert_array_equal(one.arrays["latents"], other.arrays["latents"])
    assert np.abs(one.arrays["latents"] - read_latents(moments).arrays["mean"]).max() > 1e-3
    decode_file(tmp_path / "encoded.npz", tmp_path / "a.mkv", model=vae)
    drawn = decode_file(moments, tmp_path / "b.mkv", model=vae, options=DecodeOptions(posterior="sample", seed=7))
    assert (drawn.posterior, drawn.seed) == ("sample", 7)
    np.testing.assert_array_equal(frames_of(tmp_path / "a.mkv"), frames_of(tmp_path / "b.mkv"))


def test_two_seeds_give_two_samples_and_none_is_seed_0(clip, vae, tmp_path):
    drawn = []
    for number, seed in enumerate((None, 0, 1)):
        output = tmp_path / f"{number}.npz"
        encode_file(clip, output, model=vae, options=EncodeOptions(posterior="sample", seed=seed))
        drawn.append(read_latents(output))
    assert [file.header.seed for file in drawn] == [0, 0, 1]
    np.testing.assert_array_equal(drawn[0].arrays["latents"], drawn[1].arrays["latents"])
    assert np.abs(drawn[1].arrays["latents"] - drawn[2].arrays["latents"]).max() > 1e-3


def test_moments_decode_by_their_mean_unless_told(clip, moments, vae, tmp_path):
    encode_file(clip, tmp_path / "mean.npz", model=vae)
    decode_file(tmp_path / "mean.npz", tmp_path / "a.mkv", model=vae)
    decode_file(moments, tmp_path / "b.mkv", model=vae)
    np.testing.assert_array_equal(frames_of(tmp_path / "a.mkv"), frames_of(tmp_path / "b.mkv"))


def test_values_that_are_stored_are_not_drawn_again(clip, tmp_path, capsys):
    assert run("encode", clip, "-o", tmp_path / "z.npz", "--model", "tiny", "--posterior", "sample") == 0
    assert run("decode", tmp_path / "z.npz", "-o", tmp_path / "out.mp4", "--posterior", "mean") == 3
    assert "holds values already" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


def test_trim_drops_the_frames_over_8k_plus_1_and_says_so(clip, tmp_path, capsys):
    arguments = ("encode", str(clip), "-o", str(tmp_path / "z.npz"), "--model", "tiny", "--frames-policy", "trim")
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert (result["frames"], result["dropped_frames"], result["padded_frames"]) == (9, 4, 0)
    assert "the last 4 frames are left out" in err
    header = read_latents(tmp_path / "z.npz").header
    assert (header.frames.count, header.frames.policy, header.frames.dropped_frames) == (9, "trim", 4)
    assert run("decode", tmp_path / "z.npz", "-o", tmp_path / "out.mkv") == 0
    assert len(frames_of(tmp_path / "out.mkv")) == 9


@pytest.mark.parametrize(
    ("frames", "plan"),
    [
        pytest.param(8, (8, 8, 1), marks=pytest.mark.long),
        (9, (9, 8, 1)),
        pytest.param(16, (8, 8, 2), marks=pytest.mark.long),
    ],
)
def test_exact_takes_8k_and_8k_plus_1_by_upstreams_plan(frames, plan, vae, tmp_path):
    clip = write_numbered(tmp_path / "in.mkv", frames, SIZE, Fraction(25))
    encode_file(clip, tmp_path / "z.npz", model=vae, options=EncodeOptions(frames_policy="exact"))
    stored = read_latents(tmp_path / "z.npz")
    header = stored.header
    assert (header.frames.count, header.frames.padded_frames, tuple(vars(header.plan).values())) == (frames, 0, plan)
    whole = vae.encode((frames_of(clip)[None] / np.float32(127.5)).astype(np.float32) - 1)
    np.testing.assert_allclose(stored.arrays["latents"], whole.mean[0], rtol=0, atol=1e-6)
    assert decode_file(tmp_path / "z.npz", tmp_path / "out.mkv", model=vae).frames == frames


def test_exact_refuses_any_other_count_before_computing(clip, tmp_path, capsys):
    assert run("encode", clip, "-o", tmp_path / "z.npz", "--model", "tiny", "--frames-policy", "exact") == 3
    error = capsys.readouterr().err.splitlines()
    assert error[0] == "error: 13 frames don't come back as 13: only 1, 8k and 8k+1 do"
    assert "take 9 frames" in error[1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seed", "1"), "--seed 1 is for a sample"),
        (("--posterior", "moments", "--scaled"), "moments are never scaled"),
        (("--tile-overlap", "8x8"), "the overlap 8x8 of tiles was given, but no tiles"),
        (("--tile-layout", "reference"), "the layout reference of tiles was given, but no tiles"),
        (("--tile", "32"), "'32' is no size"),
        (("--tile", "36x24"), "a tile width of 36 px is no multiple of 8"),
        (("--tile", "32x24", "--tile-overlap", "32x8"), "an overlap of 32 px doesn't suit"),
        (("--tile", "32x24", "--tile-layout", "reference"), "a reference tile height of 24 px overlaps by 4.0 px"),
    ],
)
def test_options_that_do_not_agree_are_a_usage_error(options, message, clip, tmp_path, capsys):
    assert run("encode", clip, "-o", tmp_path / "z.npz", "--model", "tiny", *options) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_tiles_are_those_of_the_api_and_stand_in_the_header(clip, tmp_path):
    tiles = ("--tile", "32x24", "--tile-overlap", "16x8")
    assert run("encode", clip, "-o", tmp_path / "z.npz", "--model", "tiny", *tiles, "--frames-policy", "trim") == 0
    stored = read_latents(tmp_path / "z.npz")
    assert stored.header.tiles == TilesHeader("uniform", 24, 32, 8, 16, 2, 2)
    assert stored.header.settings["tile"] == "32x24"
    tiled = cogvae.load("tiny").tiled(TileOptions("32x24", "16x8").tiling())
    mean = tiled.encode((frames_of(clip)[None, :9] / np.float32(127.5)).astype(np.float32) - 1).mean[0]
    np.testing.assert_allclose(stored.arrays["latents"], mean, rtol=0, atol=1e-6)
    assert run("decode", tmp_path / "z.npz", "-o", tmp_path / "out.mkv", *tiles) == 0
    assert (probe(tmp_path / "out.mkv").width, probe(tmp_path / "out.mkv").height) == SIZE


def test_load_takes_tiles():
    tiled = cogvae.load("tiny", tile="40x48", tile_layout="reference")
    tiling = tiled.form.tiling
    assert tiling is not None
    assert (tiling.width, tiling.overlap_width, tiling.layout) == (40, 8, "reference")


def test_load_cannot_choose_tiles():
    with pytest.raises(UsageError, match="can't choose its tiles"):
        cogvae.load("tiny", tile="auto")


def test_latents_of_other_programs_decode_as_if_they_had_been_converted(moments, vae, tmp_path, capsys):
    mean = read_latents(moments).arrays["mean"] * np.float32(vae.scaling_factor)
    source = pt(tmp_path / "demo.pt", laid_out(mean, "BCTHW"))
    convert_file(source, tmp_path / "z.npz", model="tiny", options=ConvertOptions(ImportOptions("cogvideo", rate="12")))
    decode_file(tmp_path / "z.npz", tmp_path / "a.mkv", model=vae)
    command = ("decode", source, "-o", tmp_path / "b.mkv", "--model", "tiny", "--rate", "12")
    assert run(*command, "--format", "cogvideo") == 0
    np.testing.assert_array_equal(frames_of(tmp_path / "a.mkv"), frames_of(tmp_path / "b.mkv"))
    assert probe(tmp_path / "b.mkv").rate == 12
    assert run("decode", source, "-o", tmp_path / "c.mkv", "--format", "cogvideo") == 2
    assert "doesn't say which model" in capsys.readouterr().err


def test_a_loaded_model_names_the_family_of_foreign_latents(moments, vae, tmp_path):
    mean = read_latents(moments).arrays["mean"]
    np.save(tmp_path / "z.npy", laid_out(mean, "TCHW"))
    lossless = VideoOptions(codec="ffv1")
    options = DecodeOptions(foreign=ImportOptions(layout="TCHW", scaled=False, rate=25), video=lossless)
    result = decode_file(tmp_path / "z.npy", tmp_path / "a.mkv", model=vae, options=options)
    assert (result.frames, result.model) == (17, vae.source)
    decode_file(moments, tmp_path / "b.mkv", model=vae, options=DecodeOptions(video=lossless))
    np.testing.assert_array_equal(frames_of(tmp_path / "a.mkv")[:13], frames_of(tmp_path / "b.mkv"))
