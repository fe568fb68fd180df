"""Measured quality as rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cogvae_cli.pipeline.compare_result import CompareResult
    from cogvae_cli.pipeline.roundtrip_result import RoundtripResult


def quality_rows(result: RoundtripResult | CompareResult) -> list[tuple[str, str]]:
    """PSNR and SSIM, and VMAF and XPSNR where they were asked for; each with what it is, or why it is missing."""
    quality, perceptual = result.quality, result.perceptual
    if quality.identical:
        rows = [("PSNR", "identical")]
    else:
        rows = [
            ("PSNR", f"{quality.psnr_mean:.2f} dB (mean of the frames' PSNR)"),
            ("", f"{quality.psnr_of_mean_mse:.2f} dB (PSNR of the mean squared error)"),
        ]
    ssim = "none: the frames are smaller than its window" if quality.ssim_mean is None else f"{quality.ssim_mean:.4f}"
    rows.append(("SSIM", ssim))
    if perceptual is None:
        return rows
    missing = f"not measured: {perceptual.reason}"
    rows.append(("VMAF", missing if perceptual.vmaf_mean is None else f"{perceptual.vmaf_mean:.1f} (mean over frames)"))
    if perceptual.xpsnr_y is not None:
        rows.append(("XPSNR", f"{perceptual.xpsnr_y:.2f} dB (luma)"))
    else:
        rows.append(("XPSNR", "identical" if quality.identical and perceptual.xpsnr_y_by_frame else missing))
    return rows
