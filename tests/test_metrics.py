"""PSNR and SSIM against independent computations in float64, and what is said where they don't exist."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cogvae_cli.report.metrics import DEFINITIONS, QualityMeter, frame_errors, psnr

# largest errors seen: SSIM 9e-7, PSNR 2.4e-7 dB
SSIM_TOLERANCE = 5e-6
PSNR_TOLERANCE = 2e-6


def clip_pair(rng: np.random.Generator, frames: int = 3, height: int = 34, width: int = 50):
    """A smooth moving picture and a worse copy of it, each frame worse than the one before: [1 T H W 3] uint8."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    waves = [np.sin(x / 5 + t) * np.cos(y / 7), np.cos(x / 9 - y / 4 + t), np.sin((x + y) / 6 - t)]
    picture = 128 + 90 * np.stack(waves, axis=-1)
    noise = rng.normal(size=picture.shape) * (4 + 6 * t[..., None])
    return tuple(np.clip(values, 0, 255).astype(np.uint8)[None] for values in (picture, picture + noise))


def blurred(image: np.ndarray) -> np.ndarray:
    """Gaussian 11x11, sigma 1.5, of [H W]; windows wholly inside."""
    offsets = np.arange(11) - 5
    kernel = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets[None, :] ** 2) / 1.5**2)
    windows = np.lib.stride_tricks.sliding_window_view(image, (11, 11))
    return np.einsum("hwij,ij->hw", windows, kernel / kernel.sum())


def reference_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of Wang et al. 2004 of [H W 3] in 0..255, straight from the formula in float64."""
    values = []
    for channel in range(3):
        x, y = a[..., channel].astype(np.float64), b[..., channel].astype(np.float64)
        mean_x, mean_y = blurred(x), blurred(y)
        var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
        both = blurred(x * y) - mean_x * mean_y
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        top = (2 * mean_x * mean_y + c1) * (2 * both + c2)
        values.append(np.mean(top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))
    return float(np.mean(values))


def measured(original: np.ndarray, result: np.ndarray, *, height: int | None = None, width: int | None = None):
    mse, ssim = frame_errors(original, result, height=height or original.shape[2], width=width or original.shape[3])
    meter = QualityMeter()
    meter.add(np.asarray(mse)[0], None if ssim is None else np.asarray(ssim)[0])
    return meter.quality()


def test_psnr_is_that_of_the_formula(rng):
    a, b = clip_pair(rng)
    quality = measured(a, b)
    errors = [float(np.mean((x.astype(np.float64) - y) ** 2)) for x, y in zip(a[0], b[0], strict=True)]
    expected = [10 * math.log10(255**2 / error) for error in errors]
    assert quality.psnr_by_frame == pytest.approx(expected, abs=PSNR_TOLERANCE)
    assert quality.psnr_mean == pytest.approx(np.mean(expected), abs=PSNR_TOLERANCE)
    assert quality.psnr_of_mean_mse == pytest.approx(10 * math.log10(255**2 / np.mean(errors)), abs=PSNR_TOLERANCE)


def test_the_two_psnrs_differ_where_frames_differ(rng):
    quality = measured(*clip_pair(rng))
    assert quality.psnr_mean > quality.psnr_of_mean_mse + 0.5


def test_ssim_is_that_of_the_formula(rng):
    a, b = clip_pair(rng)
    expected = [reference_ssim(x, y) for x, y in zip(a[0], b[0], strict=True)]
    quality = measured(a, b)
    assert quality.ssim_by_frame == pytest.approx(expected, abs=SSIM_TOLERANCE)
    assert quality.ssim_mean == pytest.approx(np.mean(expected), abs=SSIM_TOLERANCE)
    assert max(expected) - min(expected) > 0.1  # the frames really differ in quality


def test_what_lies_outside_the_true_size_does_not_count(rng):
    a, b = clip_pair(rng)
    height, width = a.shape[2] - 3, a.shape[3] - 5
    spoilt = b.copy()
    spoilt[:, :, height:] = 0
    spoilt[:, :, :, width:] = 255
    assert measured(a, spoilt, height=height, width=width) == measured(a, b, height=height, width=width)
    assert measured(a, spoilt) != measured(a, b)


def test_identical_videos_have_no_psnr_and_say_so(rng):
    a, _ = clip_pair(rng)
    quality = measured(a, a.copy())
    assert quality.identical
    assert quality.psnr_mean is quality.psnr_of_mean_mse is None
    assert quality.psnr_by_frame == (None, None, None)
    assert quality.ssim_mean == pytest.approx(1, abs=1e-6)


def test_one_level_in_one_pixel_is_not_identical(rng):
    a, _ = clip_pair(rng)
    b = a.copy()
    b[0, 1, 5, 7, 2] ^= 1
    quality = measured(a, b)
    assert not quality.identical
    assert quality.psnr_by_frame[0] is None
    assert quality.psnr_mean == quality.psnr_by_frame[1] == pytest.approx(psnr(1 / (34 * 50 * 3)), abs=PSNR_TOLERANCE)


def test_frames_smaller_than_the_window_have_psnr_only(rng):
    a, b = clip_pair(rng, height=8, width=24)
    quality = measured(a, b)
    assert quality.ssim_mean is None
    assert quality.ssim_by_frame == (None, None, None)
    assert 10 < quality.psnr_mean < 50


def test_every_figure_of_the_summary_is_json_and_has_a_definition(rng):
    a, _ = clip_pair(rng)
    summary = measured(a, a).summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert set(DEFINITIONS) == set(summary) - {"frames", "identical"}


def test_chunks_add_up_to_the_clip(rng):
    a, b = clip_pair(rng, frames=5)
    whole, meter = measured(a, b), QualityMeter()
    for part in (slice(0, 3), slice(3, 5)):
        mse, ssim = frame_errors(a[:, part], b[:, part], height=a.shape[2], width=a.shape[3])
        meter.add(np.asarray(mse)[0], np.asarray(ssim)[0])
    assert meter.quality().psnr_by_frame == pytest.approx(whole.psnr_by_frame, abs=PSNR_TOLERANCE)
    assert meter.quality().ssim_mean == pytest.approx(whole.ssim_mean, abs=SSIM_TOLERANCE)


def test_nothing_measured_is_no_quality():
    with pytest.raises(ValueError, match="no frame"):
        QualityMeter().quality()
