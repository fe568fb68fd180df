"""The round trip: what it measures, what it keeps, and its report."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from by_hand import decoded_by_hand, frames_of
from media import Coding, are_in_order, write_numbered

import cogvae_cli as cogvae
from cogvae_cli.cli.main import main
from cogvae_cli.io.video_reader import VideoReader
from cogvae_cli.pipeline.roundtrip_options import RoundtripOptions
from cogvae_cli.pipeline.video_options import VideoOptions

PSNR_TOLERANCE = 1e-3
"""dB; both sides compute the same network, in other pieces."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Neither 8k+1 frames nor a height that is a multiple of 8: both kinds of padding are at work."""
    return write_numbered(
        tmp_path_factory.mktemp("roundtrip") / "in.mkv", 13, (64, 45), Fraction(24000, 1001), Coding(pix_fmt="yuv444p")
    )


def psnr_by_hand(clip: Path) -> list[float]:
    """PSNR in dB of each frame."""
    frames = frames_of(clip)
    errors = np.square(frames.astype(np.float64) - decoded_by_hand(frames)).mean(axis=(1, 2, 3))
    return [10 * math.log10(255**2 / error) for error in errors]


def test_it_measures_the_frames_that_went_in_against_those_that_came_out(clip):
    result = cogvae.roundtrip_file(clip, model="tiny")
    assert result.quality.psnr_by_frame == pytest.approx(psnr_by_hand(clip), abs=PSNR_TOLERANCE)
    assert result.quality.frames == 13
    assert (result.padded_frames, result.latents_shape) == (4, (5, 6, 8, 16))
    assert 0 < result.quality.ssim_mean < 1


def test_the_video_is_kept_where_it_is_asked_for(clip, tmp_path):
    options = RoundtripOptions(output=tmp_path / "back.mkv", video=VideoOptions(crf=4))
    cogvae.roundtrip_file(clip, model="tiny", options=options)
    with VideoReader(tmp_path / "back.mkv") as reader:
        assert are_in_order(reader.frames(), 13)
        assert reader.timing.rate == Fraction(24000, 1001)
        assert (reader.info.width, reader.info.height) == (64, 45)
    assert [path.name for path in tmp_path.iterdir()] == ["back.mkv"]


def test_the_report_has_the_figures_of_every_frame(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["roundtrip", str(clip), "--model", "tiny", "--report", "--json", "-q"]) == 0
    printed = json.loads(capsys.readouterr().out)
    report = json.loads((tmp_path / "in.report.json").read_text())
    assert printed["report"] == "in.report.html"
    assert {name: report[name] for name in printed if name != "latents"} == {
        name: value for name, value in printed.items() if name != "latents"
    }
    assert len(report["by_frame"]["psnr"]) == len(report["by_frame"]["ssim"]) == 13
    assert np.mean(report["by_frame"]["psnr"]) == pytest.approx(printed["quality"]["psnr_mean"])
    assert set(report["definitions"]) <= set(report["quality"])


def test_a_report_that_is_there_is_found_before_anything_is_computed(clip, tmp_path, capsys):
    (tmp_path / "r.json").write_text("{}")
    command = ["roundtrip", str(clip), "--model", "tiny", "--report-out", str(tmp_path / "r.json")]
    assert main(command) == 4
    assert "compiling" not in capsys.readouterr().err
    assert (tmp_path / "r.json").read_text() == "{}"
    assert main([*command, "-y", "-q"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["kind"] == "roundtrip"


def test_the_model_comes_from_the_environment_unless_it_is_given(clip, monkeypatch, capsys):
    monkeypatch.setenv("COGVAE_MODEL", "no-such-model")
    assert main(["roundtrip", str(clip), "-q"]) == 3
    assert "no-such-model" in capsys.readouterr().err
    assert main(["roundtrip", str(clip), "-q", "--model", "tiny"]) == 0


def test_the_summary_for_people_names_what_it_measured(clip, capsys):
    assert main(["roundtrip", str(clip), "--model", "tiny"]) == 0
    out, err = capsys.readouterr()
    assert "PSNR" in out
    assert "SSIM" in out
    assert "mean of the frames' PSNR" in out
    assert "compiling the network for 64x45" in err
    assert "not CogVideoX's" in err


@pytest.mark.long
def test_without_an_input_the_built_in_clip_goes_through_the_built_in_model(capsys):
    assert main(["roundtrip", "--json", "-q"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["frames"], result["width"], result["height"]) == (49, 480, 272)
    assert result["model"]["name"] == "tiny"
    assert result["quality"]["psnr_mean"] > 22.0  # measured 22.27


def test_v_tells_the_cost(clip, capsys):
    assert main(["roundtrip", str(clip), "--model", "tiny", "-q"]) == 0
    brief = capsys.readouterr().out
    assert main(["roundtrip", str(clip), "--model", "tiny", "-q", "-v"]) == 0
    out = capsys.readouterr().out
    assert "loading model" not in brief
    for words in ("loading model", "compiling", "as bfloat16 latents", "B at most", "identity"):
        assert words in out
    assert len(out.splitlines()) > len(brief.splitlines()) + 8
