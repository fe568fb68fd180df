"""`cogvae convert`: latents of other programs in and out, scale, moments, and what is refused rather than guessed."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest
from foreign_samples import LAYOUTS, Told, convert, laid_out, pt, pt_arrays
from latents_samples import HEADER, MOMENTS, SAMPLED, SHAPE, values, write

from cogvae_cli.cli.main import main
from cogvae_cli.errors import LatentsError
from cogvae_cli.io.foreign import ARRAY, Hints, read_foreign
from cogvae_cli.io.foreign_layout import FORMATS, axes_of
from cogvae_cli.io.latents import read_latents
from cogvae_cli.io.torch_file import BARE
from cogvae_cli.io.video_reader import probe
from cogvae_cli.pipeline.decode import decode_file
from cogvae_cli.pipeline.importing import (
    UNKNOWN_IDENTITY,
    ImportedLatents,
    ImportOptions,
    check_factor,
    family_of,
    open_any,
)
from cogvae_cli.pipeline.progress import Notices, Progress

FACTOR = np.float32(1.15258426)
ROUNDING = 1e-6
"""Relative; scaling and taking it off again was off by up to 1.2e-7."""


@pytest.fixture
def latents(rng):
    """Axes [T H W C]."""
    return rng.normal(size=SHAPE).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", ["pt", "npy", "safetensors"])
def test_every_layout_is_read_and_written(tmp_path, latents, layout, suffix):
    own = write(tmp_path / "own.npz", HEADER, {"latents": latents})
    out, back = tmp_path / f"z.{suffix}", tmp_path / "back.npz"
    convert(own, out, layout=layout.lower())
    found = read_foreign(out, Hints())
    np.testing.assert_array_equal(found.arrays["latents"], latents)
    assert found.layout == layout
    if suffix == "npy":
        np.testing.assert_array_equal(np.load(out), laid_out(latents, layout))
    choices = {"scaled": False, "rate": "24", "model": "tiny"} if suffix == "npy" else {}
    convert(out, back, **choices)
    np.testing.assert_array_equal(read_latents(back).arrays["latents"], latents)


@pytest.mark.parametrize("header", [HEADER, SAMPLED, MOMENTS])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_nothing_is_lost_on_the_way_out_and_back(tmp_path, rng, header, suffix):
    own = write(tmp_path / "own.npz", header, values(rng, header))
    convert(own, tmp_path / f"z.{suffix}", layout="TCHW")
    convert(tmp_path / f"z.{suffix}", tmp_path / "back.npz")
    assert (tmp_path / "back.npz").read_bytes() == own.read_bytes()


@pytest.mark.parametrize("header", [HEADER, SAMPLED, MOMENTS])
def test_between_our_own_containers_and_back_every_byte_is_kept(tmp_path, rng, header):
    own = write(tmp_path / "own.npz", header, values(rng, header))
    convert(own, tmp_path / "z.safetensors")
    convert(tmp_path / "z.safetensors", tmp_path / "back.npz")
    assert (tmp_path / "back.npz").read_bytes() == own.read_bytes()


def test_a_demo_file_is_taken_as_what_it_is(tmp_path, latents):
    told = Told()
    source = pt(tmp_path / "encoded.pt", laid_out(latents, "BCTHW"))
    result = convert(source, tmp_path / "z.npz", "cogvideox-2b", told, format="cogvideo")
    read = read_latents(tmp_path / "z.npz")
    np.testing.assert_array_equal(read.arrays["latents"], latents)
    header = read.header
    assert (header.scaled, header.scaling_factor, header.posterior) == (False, 1.15258426, "mean")
    assert (header.model.name, header.model.identity) == ("cogvideox-2b", UNKNOWN_IDENTITY)
    assert dict(header.settings) == {"imported": "cogvideo", "posterior": "unknown"}
    assert (header.frames.count, header.frames.height, header.frames.width) == (17, 32, 48)
    assert header.timing.rate == 8
    assert header.source.name == "encoded.pt"
    assert ["8 frames/s" in notice for notice in told.notices] == [True]
    assert result.as_dict()["latents"]["shape"] == list(SHAPE)


def test_a_family_of_1_5_has_16_frames_a_second_and_the_rate_can_be_given(tmp_path, latents):
    source = pt(tmp_path / "z.pt", laid_out(latents, "BCTHW"))
    for name, choices, rate in (("a", {}, 16), ("b", {"rate": "29.97"}, Fraction(30000, 1001))):
        convert(source, tmp_path / f"{name}.npz", "cogvideox1.5-5b-i2v", format="cogvideo", **choices)
        assert read_latents(tmp_path / f"{name}.npz").header.timing.rate == rate


@pytest.mark.parametrize(
    ("program", "layout", "name"), [("finetrainers", "BTCHW", ARRAY), ("cogvideox-factory", "CTHW", BARE)]
)
def test_moments_of_the_trainers_are_split_and_clamped(tmp_path, rng, program, layout, name):
    moments = rng.normal(size=(*SHAPE[:3], 32)).astype(np.float32) * 30
    source = pt(tmp_path / "z.pt", laid_out(moments, layout), name=name)
    convert(source, tmp_path / "z.npz", "cogvideox-5b", format=program)
    read = read_latents(tmp_path / "z.npz")
    np.testing.assert_array_equal(read.arrays["mean"], moments[..., :16])
    np.testing.assert_array_equal(read.arrays["logvar"], np.clip(moments[..., 16:], -30, 20))
    assert moments[..., 16:].min() < -30
    assert (read.header.posterior, read.header.scaled) == ("moments", False)


@pytest.mark.parametrize("even", [2, 4])
def test_an_even_number_of_latent_frames_gives_four_times_as_many_frames(tmp_path, latents, even):
    source = pt(tmp_path / "z.pt", laid_out(latents[:even], "BCTHW"))
    convert(source, tmp_path / "z.npz", "tiny", format="cogvideo")
    assert read_latents(tmp_path / "z.npz").header.frames.count == 4 * even


@pytest.mark.parametrize("program", FORMATS)
def test_what_each_program_is_given_has_its_axes_channels_and_scale(tmp_path, latents, program):
    own = write(tmp_path / "own.npz", HEADER, {"latents": latents})
    convert(own, tmp_path / "z.pt", format=program)
    ((name, array),) = pt_arrays(tmp_path / "z.pt").items()
    form = FORMATS[program]
    assert name == (form.array or BARE)
    moved = latents * FACTOR if form.scaled else latents
    if form.moments:
        moved = np.concatenate([moved, np.full_like(moved, -30)], axis=3)
    np.testing.assert_array_equal(array, laid_out(moved, form.layout))


def test_scaling_is_put_on_and_taken_off(tmp_path, latents):
    own = write(tmp_path / "own.npz", HEADER, {"latents": latents})
    convert(own, tmp_path / "scaled.npz", scaled=True)
    read = read_latents(tmp_path / "scaled.npz")
    assert read.header.scaled
    np.testing.assert_array_equal(read.arrays["latents"], latents * FACTOR)
    convert(tmp_path / "scaled.npz", tmp_path / "back.npz", scaled=False)
    np.testing.assert_allclose(read_latents(tmp_path / "back.npz").arrays["latents"], latents, rtol=ROUNDING)


def test_a_scaled_array_is_recorded_as_scaled_and_kept_to_the_bit(tmp_path, latents):
    np.save(tmp_path / "z.npy", laid_out(latents, "TCHW"))
    convert(tmp_path / "z.npy", tmp_path / "z.npz", "cogvideox-5b", scaled=True)
    read = read_latents(tmp_path / "z.npz")
    assert (read.header.scaled, read.header.scaling_factor) == (True, 0.7)
    np.testing.assert_array_equal(read.arrays["latents"], latents)


def test_an_array_in_fortran_order_or_double_precision_is_read(tmp_path, latents):
    np.save(tmp_path / "z.npy", np.asfortranarray(laid_out(latents, "CTHW").astype(np.float64)))
    convert(tmp_path / "z.npy", tmp_path / "z.npz", "tiny", scaled=False)
    np.testing.assert_array_equal(read_latents(tmp_path / "z.npz").arrays["latents"], latents)


def test_one_of_several_arrays_is_chosen_by_name(tmp_path, latents):
    from safetensors.numpy import save_file

    save_file({"image": latents[:1], "encoded_video": laid_out(latents, "CTHW")}, tmp_path / "z.safetensors")
    with pytest.raises(LatentsError, match="2 arrays") as caught:
        convert(tmp_path / "z.safetensors", tmp_path / "z.npz", "tiny", scaled=False)
    assert "--array" in str(caught.value.hint)
    convert(tmp_path / "z.safetensors", tmp_path / "z.npz", "tiny", scaled=False, array="encoded_video")
    np.testing.assert_array_equal(read_latents(tmp_path / "z.npz").arrays["latents"], latents)


def test_latents_of_one_family_are_not_taken_for_anothers_unless_forced(tmp_path, latents):
    own = write(tmp_path / "own.npz", HEADER, {"latents": latents})
    with pytest.raises(LatentsError, match=r"scaling factor is 1\.15258; that of cogvideox-5b is 0\.7") as caught:
        convert(own, tmp_path / "z.npz", "cogvideox-5b", scaled=True)
    assert "--force" in str(caught.value.hint)
    convert(own, tmp_path / "z.npz", "cogvideox-5b", scaled=True, force=True)
    read = read_latents(tmp_path / "z.npz")
    assert (read.header.model.name, read.header.scaling_factor) == ("cogvideox-5b", 0.7)
    np.testing.assert_array_equal(read.arrays["latents"], latents * np.float32(0.7))
    check_factor(HEADER, "cogvideox-2b", family_of("cogvideox-2b").scaling_factor, force=False)


def moments(rng):
    arrays = values(rng, MOMENTS)
    return {"mean": arrays["mean"].astype(np.float16), "logvar": arrays["logvar"].astype(np.float16)}


def test_a_sample_of_moments_depends_on_seed_source_and_frame_and_nothing_else(tmp_path, rng):
    arrays = moments(rng)
    other = dataclasses.replace(MOMENTS, source=dataclasses.replace(MOMENTS.source, sha256="ef" * 32))
    for name, header in (("a", MOMENTS), ("b", other)):
        write(tmp_path / f"{name}.npz", header, arrays)
    samples = {}
    for name, seed in (("a", 7), ("a", 8), ("b", 7), ("a", 2**40 + 7)):
        out = tmp_path / f"{name}{seed}.npz"
        convert(tmp_path / f"{name}.npz", out, posterior="sample", seed=seed, dtype="float32")
        read = read_latents(out)
        assert (read.header.posterior, read.header.seed) == ("sample", seed)
        samples[name, seed] = read.arrays["latents"]
    flat = [sample.tobytes() for sample in samples.values()]
    assert len(set(flat)) == 4
    noise = (samples["a", 7] - arrays["mean"]) / np.exp(0.5 * arrays["logvar"].astype(np.float32))
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs(noise.std() - 1) < 4 / np.sqrt(2 * noise.size)
    assert len({frame.tobytes() for frame in noise}) == SHAPE[0]


def test_the_mean_of_moments_is_the_mean(tmp_path, rng):
    arrays = moments(rng)
    own = write(tmp_path / "own.npz", MOMENTS, arrays)
    convert(own, tmp_path / "z.npz", posterior="mean")
    np.testing.assert_array_equal(read_latents(tmp_path / "z.npz").arrays["latents"], arrays["mean"])
    told = Told()
    convert(own, tmp_path / "z.pt", progress=told, format="cogvideo")
    assert any("the mean is taken" in notice for notice in told.notices)
    np.testing.assert_array_equal(pt_arrays(tmp_path / "z.pt")[BARE][0], arrays["mean"].transpose(3, 0, 1, 2))


def test_moments_go_to_the_trainers_as_they_are(tmp_path, rng):
    arrays = moments(rng)
    convert(write(tmp_path / "own.npz", MOMENTS, arrays), tmp_path / "z.pt", format="cogvideox-factory")
    joined = np.concatenate([arrays["mean"], arrays["logvar"]], axis=3)
    np.testing.assert_array_equal(pt_arrays(tmp_path / "z.pt")[BARE], joined.transpose(3, 0, 1, 2))


def test_axes_are_named_in_any_case_and_frames_may_be_f():
    assert axes_of("bfchw") == "BTCHW"


def test_what_is_padded_is_told_for_other_programs_do_not_know(tmp_path, latents):
    told = Told()
    convert(write(tmp_path / "own.npz", HEADER, {"latents": latents}), tmp_path / "z.pt", progress=told, layout="TCHW")
    assert any("17 frames of 48x32, with the padding; the video had 15 of 45x30" in notice for notice in told.notices)
    assert any("not CogVideoX's" in notice for notice in told.notices)


def test_a_foreign_file_is_read_by_chunks_like_a_latents_file(tmp_path, latents):
    source = pt(tmp_path / "z.pt", laid_out(latents, "BCTHW"))
    about = ImportOptions(format="cogvideo", rate="8")
    with open_any(source, "tiny", revision=None, options=about, notices=Notices(Progress())) as reader:
        assert isinstance(reader, ImportedLatents)
        assert (reader.shape, reader.length) == (SHAPE, 5)
        chunks = list(reader.chunks((3, 2)))
        np.testing.assert_array_equal(np.concatenate([chunk["latents"] for chunk in chunks]), latents)
        with pytest.raises(ValueError, match="were asked for"):
            list(reader.chunks((4, 2)))


def test_the_command_prints_what_it_made(tmp_path, latents, capsys):
    source = str(pt(tmp_path / "z.pt", laid_out(latents, "BCTHW")))
    out = str(tmp_path / "z.npz")
    assert main(["convert", source, "-o", out, "--format", "cogvideo", "-m", "cogvideox-2b", "--json", "-q"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["kind"], facts["output_kind"], facts["latents"]["scaled"]) == ("convert", "npz", False)
    assert main(["convert", source, "-o", out, "--format", "cogvideo", "-m", "cogvideox-2b"]) == 4
    capsys.readouterr()
    assert main(["convert", out, "-o", str(tmp_path / "y.npy"), "--layout", "TCHW", "--scaled"]) == 0
    assert "npy TCHW" in capsys.readouterr().out
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), laid_out(latents, "TCHW") * FACTOR)


def test_imported_latents_decode_with_a_model_of_their_family_only(tmp_path, latents):
    source = pt(tmp_path / "z.pt", laid_out(latents, "BCTHW"))
    convert(source, tmp_path / "tiny.npz", "tiny", format="cogvideo")
    convert(source, tmp_path / "5b.npz", "cogvideox-5b", format="cogvideo")
    decode_file(tmp_path / "tiny.npz", tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").width == 8 * SHAPE[2]
    with pytest.raises(LatentsError, match=r"scaling factor is 0\.7; that of tiny is"):
        decode_file(tmp_path / "5b.npz", tmp_path / "no.mp4", model="tiny")
