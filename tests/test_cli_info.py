"""`cogvae info` on videos and latents: true facts, as a table and as JSON."""

from __future__ import annotations

import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import pytest
from latents_samples import SAMPLED, values, write
from media import Coding, ffmpeg, numbered, write_numbered
from PIL import Image
from reading import HEVC

from cogvae_cli.cli.main import main


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_numbered(tmp_path_factory.mktemp("info") / "in.mkv", 10, (64, 48), Fraction(30000, 1001))


@pytest.fixture(scope="module")
def latents(clip) -> Path:
    output = clip.with_name("z.safetensors")
    arguments = ["encode", str(clip), "-o", str(output), "--model", "tiny", "--store-dtype", "bfloat16", "-q"]
    assert main(arguments) == 0
    return output


def facts(capsys, *arguments: str) -> dict:
    capsys.readouterr()
    assert main(["info", *arguments, "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_a_video_is_told_from_its_header(clip, capsys):
    told = facts(capsys, str(clip))
    assert (told["kind"], told["width"], told["height"], told["codec"]) == ("video", 64, 48, "h264")
    assert told["bytes"] == clip.stat().st_size
    assert "frames" not in told


def test_counting_decodes_and_tells_what_the_clip_would_become(clip, capsys):
    told = facts(capsys, str(clip), "--count")
    assert (told["frames"], told["rate"], told["variable_rate"]) == (10, "30000/1001", False)
    assert told["latents"] == {"frames": 5, "height": 6, "width": 8}


def test_a_folder_of_pictures_and_numbered_ones_are_told_as_video(tmp_path, capsys):
    for number, frame in enumerate(numbered(range(3), 64, 48)):
        Image.fromarray(frame).save(tmp_path / f"a{number}.png")
    for target in (tmp_path, tmp_path / "a%d.png"):
        told = facts(capsys, str(target), "--count")
        assert (told["kind"], told["frames"], told["width"], told["container"]) == ("video", 3, 64, "pictures")


def test_hdr_and_odd_pixels_are_told_not_refused(tmp_path, capsys):
    coding = Coding("libx265", "yuv420p10le", HEVC.options, matrix=9, primaries=9, transfer=16)
    told = facts(capsys, str(write_numbered(tmp_path / "a.mp4", 3, coding=coding)))
    assert told["colour"]["transfer"] == "smpte2084"
    ffmpeg("-i", write_numbered(tmp_path / "b.mp4", 3), "-c", "copy", "-aspect", "8:3", tmp_path / "c.mp4")
    told = facts(capsys, str(tmp_path / "c.mp4"))
    assert (told["width"], told["stored_size"], told["pixel_aspect"]) == (128, "64x48", "2:1")


def test_latents_are_told_from_weights_by_their_content(latents, package, capsys):
    told = facts(capsys, str(latents))
    assert (told["kind"], told["shape"], told["dtype"]) == ("latents", [5, 6, 8, 16], "bfloat16")
    assert told["video"] == {"frames": 10, "size": "64x48", "rate": "30000/1001", "variable_rate": False}
    assert told["padding"] == {"frames": 7, "bottom": 0, "right": 0}
    assert told["model"]["name"] == "tiny"
    assert told["tiles"] is None
    weights = package / "assets" / "tiny" / "diffusion_pytorch_model.safetensors"
    assert facts(capsys, str(weights))["kind"] == "model"


def test_latents_tell_the_tiles_that_they_were_computed_in(tmp_path, rng, capsys):
    told = facts(capsys, str(write(tmp_path / "a.npz", SAMPLED, values(rng, SAMPLED))))
    assert (told["tiles"]["layout"], told["tiles"]["rows"], told["tiles"]["tile_width"]) == ("reference", 3, 360)


def test_a_folder_with_a_model_is_a_model_with_the_same_identity(package, tmp_path, capsys):
    folder = shutil.copytree(package / "assets" / "tiny", tmp_path / "mine" / "vae").parent
    mine, tiny = facts(capsys, str(folder)), facts(capsys, "tiny")
    assert mine["name"] == "mine"
    assert mine["identity"] == tiny["identity"]


def test_the_table_has_a_line_a_fact(latents, capsys):
    capsys.readouterr()
    assert main(["info", str(latents)]) == 0
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["shape"] == "5, 6, 8, 16"
    assert rows["video size"] == "64x48"
    assert rows["scaled"] == "no"


def test_damaged_latents_are_not_told_to_be_whole(latents, tmp_path, capsys):
    data = bytearray(latents.read_bytes())
    data[-3] ^= 64
    (tmp_path / "bad.safetensors").write_bytes(data)
    assert main(["info", str(tmp_path / "bad.safetensors")]) == 3
    assert "damaged" in capsys.readouterr().err
