"""VMAF and XPSNR through ffmpeg: the same as of two files, and what is said where they can't be measured."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from media import LOSSLESS, numbered, write_frames

from cogvae_cli.io.perceptual import LEAST_SIDE, PerceptualMeter, support

SIZE = (96, 65)  # an odd height, so that no half is cut by an even number


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A clip with detail, and a worse one, each frame worse than the one before: uint8 [12 H W 3]."""
    rng = np.random.default_rng(5)
    clip = numbered(range(12), *SIZE).astype(float)
    clip[..., 0] += 40 * np.sin(np.arange(SIZE[0]) / 3)
    noise = rng.normal(0, 1, clip.shape) * (2 + 2 * np.arange(12))[:, None, None, None]
    return tuple(np.clip(frames, 0, 255).astype(np.uint8) for frames in (clip, clip + noise))


def measure(original: np.ndarray, result: np.ndarray):
    with PerceptualMeter(original.shape[2], original.shape[1]) as meter:
        for part in (slice(0, 9), slice(9, None)):
            meter.add(original[part], result[part])
        return meter.finish()


def test_it_measures_what_ffmpeg_measures_of_two_lossless_files(pair, tmp_path):
    paths = [
        write_frames(tmp_path / f"{name}.mkv", frames, 25, LOSSLESS) for name, frames in zip("ab", pair, strict=True)
    ]
    yuv = "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p"
    graph = f"[0:v]{yuv}[a];[1:v]{yuv},split[b][c];[b][a]libvmaf=log_fmt=json:log_path=v.json[x]"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", paths[0], "-i", paths[1], "-filter_complex"]
    command += [f"{graph};[c]nullsink", "-map", "[x]", "-f", "null", "-"]
    subprocess.run([str(part) for part in command], cwd=tmp_path, check=True)
    expected = json.loads((tmp_path / "v.json").read_text())
    found = measure(*pair)
    assert found.reason is None
    assert found.vmaf_by_frame == pytest.approx([frame["metrics"]["vmaf"] for frame in expected["frames"]], abs=1e-3)
    assert found.vmaf_mean == pytest.approx(expected["pooled_metrics"]["vmaf"]["mean"], abs=1e-3)
    assert len(found.xpsnr_y_by_frame) == 12


def test_the_original_is_the_reference(pair):
    sharp = pair[1]
    wide = np.pad(sharp, ((0, 0), (0, 0), (2, 2), (0, 0)), mode="edge")
    blurred = np.lib.stride_tricks.sliding_window_view(wide, 5, axis=2).mean(axis=-1).astype(np.uint8)
    there, back = measure(sharp, blurred), measure(blurred, sharp)
    assert there.vmaf_mean + 10 < back.vmaf_mean  # more detail than the reference has is no loss
    assert abs(there.xpsnr_y - back.xpsnr_y) > 0.1


def test_a_frame_that_is_worse_has_a_lower_xpsnr(pair):
    by_frame = measure(*pair).xpsnr_y_by_frame
    assert by_frame[1] > by_frame[6] > by_frame[-1] + 2


def test_identical_videos_have_no_xpsnr(pair):
    found = measure(pair[0], pair[0])
    assert found.xpsnr_y is None
    assert found.xpsnr_y_by_frame == (None,) * 12
    assert found.vmaf_mean > 95


def test_frames_too_small_for_vmaf_have_an_xpsnr(rng):
    clip = rng.integers(0, 256, (3, LEAST_SIDE - 8, 64, 3), np.uint8)
    found = measure(clip, clip // 2)
    assert (found.vmaf_mean, found.vmaf_by_frame) == (None, ())
    assert f"at least {LEAST_SIDE} pixels" in found.reason
    assert 0 < found.xpsnr_y < 40


def program(path: Path, text: str) -> Path:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


WITHOUT_VMAF = """
case "$2" in
    -version) echo "ffmpeg version 4.4 old" ;;
    *) echo " .. scale V->V x" ;;
esac
"""
BROKEN = """
case "$*" in
    *-version*) echo "ffmpeg version 9 x" ;;
    *-filters*) echo " .. libvmaf VV->V x"; echo " .. xpsnr VV->V x" ;;
    *) echo "it is broken" >&2; exit 3 ;;
esac
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [(WITHOUT_VMAF, "ffmpeg 4.4 has no libvmaf and no xpsnr"), (BROKEN, "ffmpeg failed: it is broken")],
)
def test_an_ffmpeg_that_cannot_measure_is_told(text, reason, pair, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program(tmp_path / "ffmpeg", text)))
    found = measure(*pair)
    assert (found.vmaf_mean, found.xpsnr_y, found.vmaf_by_frame) == (None, None, ())
    assert found.reason == reason


def test_no_ffmpeg_at_all_is_told(pair, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    assert "there is no ffmpeg that runs" in measure(*pair).reason
    assert not support().vmaf


def test_a_run_that_breaks_off_leaves_no_process_and_no_folder(pair, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    meter = PerceptualMeter(*SIZE)
    assert len(list(tmp_path.iterdir())) == 1
    meter.add(*pair)
    process = meter._process.pid
    with pytest.raises(KeyboardInterrupt), meter:
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    assert not Path(f"/proc/{process}").exists()
