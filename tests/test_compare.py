"""Two videos compared: the same figures as a round trip has, and what can't be compared."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from media import LOSSLESS, numbered, write_frames
from page_parts import Page
from test_report import check_documented

import cogvae_cli as cogvae
from cogvae_cli.cli.main import main
from cogvae_cli.pipeline.compare import CompareOptions, report_path

SIZE = (64, 48)


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """Two lossless files of 19 frames, and their frames; the second one is noisier with every frame."""
    folder, rng = tmp_path_factory.mktemp("compare"), np.random.default_rng(8)
    first = numbered(range(19), *SIZE)
    noise = rng.normal(0, 1, first.shape) * (1 + np.arange(19))[:, None, None, None]
    second = np.clip(first + noise, 0, 255).astype(np.uint8)
    paths = [
        write_frames(folder / f"{name}.mkv", frames, 25, LOSSLESS) for name, frames in (("a", first), ("b", second))
    ]
    return paths[0], paths[1], first, second


def test_it_measures_frames_by_their_order(videos, capsys):
    a, b, first, second = videos
    assert main(["compare", str(a), str(b), "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    errors = np.square(first.astype(float) - second).mean(axis=(1, 2, 3))
    expected = np.mean([10 * math.log10(255**2 / error) for error in errors])
    assert found["quality"]["psnr_mean"] == pytest.approx(expected, abs=1e-4)
    assert (found["kind"], found["frames"], found["width"], found["height"]) == ("compare", 19, 64, 48)
    assert found["quality"]["vmaf_mean"] is None
    assert "--report" in found["quality"]["not_measured"]


def test_its_report_has_the_documented_figures_and_a_page(videos, tmp_path, monkeypatch, root, capsys):
    a, b, first, second = videos
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(a), str(b), "--report", "-q"]) == 0
    assert "VMAF" in capsys.readouterr().out
    figures = json.loads(Path("a-b.report.json").read_text())
    check_documented(figures, root)
    squared = np.square(first.astype(float) - second)
    assert figures["by_column"]["rmse"] == pytest.approx(np.sqrt(squared.mean(axis=(0, 1, 3))), abs=1e-3)
    assert (figures["frames_shown"]["best"], figures["frames_shown"]["worst"]) == (0, 18)
    page = Page(Path("a-b.report.html"))
    assert "a.mkv and b.mkv compared" in page.text
    assert "Latents" not in page.text
    assert "chunk" not in page.text


def test_identical_videos_have_no_psnr_and_pass_a_gate_on_it(videos, tmp_path, capsys):
    a = videos[0]
    report = tmp_path / "r.html"
    assert main(["compare", str(a), str(a), "--json", "-q", "--min-psnr", "60", "--report-out", str(report)]) == 0
    found = json.loads(capsys.readouterr().out)["quality"]
    assert (found["identical"], found["psnr_mean"], found["psnr_of_mean_mse"], found["xpsnr_y"]) == (
        True,
        None,
        None,
        None,
    )
    assert found["ssim_mean"] == pytest.approx(1, abs=1e-6)
    figures = json.loads(report.with_suffix(".json").read_text())
    assert figures["by_frame"]["psnr"] == figures["by_frame"]["xpsnr_y"] == [None] * 19
    assert "every pixel is the same" in Page(report).text


def test_identical_videos_are_told_in_a_table(videos, capsys):
    assert main(["compare", str(videos[0]), str(videos[0]), "-q"]) == 0
    assert "PSNR    identical" in capsys.readouterr().out


def test_another_size_is_told_in_one_line_with_its_cure(videos, tmp_path, capsys):
    other = write_frames(tmp_path / "c.mkv", numbered(range(19), 96, 72), 25, LOSSLESS)
    command = ["compare", str(videos[0]), str(other), "-q"]
    assert main(command) == 3
    error, hint = capsys.readouterr().err.splitlines()
    assert f"{videos[0]} is 64x48 and {other} is 96x72" in error
    assert "--size 64x48" in hint
    assert main([*command, "--size", "64x48"]) == 0


@pytest.mark.parametrize("count", [1, 8, 18, 24])
def test_another_count_is_told_with_both_counts(count, videos, tmp_path, capsys):
    other = write_frames(tmp_path / "c.mkv", numbered(range(count), *SIZE), 25, LOSSLESS)
    report = tmp_path / "r.html"
    assert main(["compare", str(videos[0]), str(other), "-q", "--report-out", str(report)]) == 3
    error, hint = capsys.readouterr().err.splitlines()
    assert f"has 19 frames and {other} has {count}:" in error
    assert f"--frames {min(19, count)}" in hint
    assert [path.name for path in tmp_path.iterdir()] == ["c.mkv"]


def test_frames_takes_as_many_of_both(videos, tmp_path):
    other = write_frames(tmp_path / "c.mkv", numbered(range(5), *SIZE), 30, LOSSLESS)
    options = CompareOptions(reading=cogvae_reading(frames=5))
    result = cogvae.compare_files(videos[0], other, options=options)
    assert (result.quality.frames, result.quality.identical) == (5, True)
    assert any("times don't count" in notice for notice in result.notices)


def cogvae_reading(**values):
    from cogvae_cli.pipeline.video_options import ReadOptions

    return ReadOptions(**values)


def test_a_missed_gate_ends_with_5_after_the_figures(videos, capsys):
    assert main(["compare", str(videos[0]), str(videos[1]), "-q", "--min-psnr", "80"]) == 5
    out, err = capsys.readouterr()
    assert "PSNR" in out
    assert err.startswith("error: PSNR is ")


def test_both_from_standard_input_is_a_usage_error(capsys):
    assert main(["compare", "-", "-"]) == 2
    assert "standard input" in capsys.readouterr().err


def test_a_missing_video_is_bad_input(videos, capsys):
    assert main(["compare", str(videos[0]), "none.mp4"]) == 3
    assert "none.mp4" in capsys.readouterr().err


def test_the_default_name_names_both():
    assert report_path("x/a.mp4", "-") == Path("a-stdin.report.html")
