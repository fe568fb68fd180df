"""PSNR and SSIM between two videos, frame by frame, and what they come to over a clip. Each names its definition."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt8

PEAK = 255.0

SSIM_WINDOW = 11
"""Side of SSIM's window in pixels; a frame smaller than that has no SSIM."""

DEFINITIONS = {
    "psnr_mean": "mean over frames of 10 log10(255^2 / MSE), MSE over all pixels and channels of the 8-bit RGB frame; "
    "frames without any error have none and are left out",
    "psnr_of_mean_mse": "10 log10(255^2 / MSE), MSE over all pixels, channels and frames, 8-bit RGB",
    "ssim_mean": "mean over frames of SSIM (Wang et al. 2004, as dm_pix.ssim computes it) on RGB in [0, 1]: Gaussian "
    "window 11x11 with sigma 1.5, k1 = 0.01, k2 = 0.03, windows wholly inside the frame, mean over the three channels",
}


@functools.partial(jax.jit, static_argnames=("height", "width"))
def frame_errors(
    original: UInt8[Array, "B T H W 3"], result: UInt8[Array, "B T H W 3"], *, height: int, width: int
) -> tuple[Float[Array, "B T"], Float[Array, "B T"] | None]:
    """Mean squared error (8-bit units) and SSIM of each frame, within the first `height` rows and `width` columns.

    One frame at a time, so memory doesn't grow with T. SSIM is None where the frames are smaller than its window.
    """

    def one(pair: tuple[UInt8[Array, "H W 3"], ...]) -> tuple[Float[Array, ""], Float[Array, ""] | None]:
        a, b = (frame[:height, :width].astype(jnp.float32) for frame in pair)
        mse = jnp.mean(jnp.mean(jnp.square(a - b), axis=(1, 2)))  # by row first: float32 sums of a row are exact enough
        if min(height, width) < SSIM_WINDOW:
            return mse, None
        # dm_pix mixes dtypes and ranks, which a caller of ours may have forbidden
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            ssim = dm_pix.ssim(a / PEAK, b / PEAK, filter_size=SSIM_WINDOW, filter_sigma=1.5, k1=0.01, k2=0.03)
        return mse, jnp.asarray(ssim)

    errors: tuple[Array, Array | None] = jax.lax.map(lambda clip: jax.lax.map(one, clip), (original, result))
    return errors


@jax.jit
def error_by_pixel(
    original: UInt8[Array, "1 T H W 3"], result: UInt8[Array, "1 T H W 3"], count: Int32[Array, ""]
) -> Float[Array, "H W"]:
    """Squared error of each pixel (8-bit units, mean over the channels), summed over the first `count` frames."""

    def add(total: Float[Array, "H W"], item: tuple[Array, Array, Array]) -> tuple[Float[Array, "H W"], None]:
        index, a, b = item
        error = jnp.mean(jnp.square(a.astype(jnp.float32) - b.astype(jnp.float32)), axis=-1)
        return total + jnp.where(index < count, error, jnp.zeros_like(error)), None

    frames, height, width = original.shape[1:4]
    start = jnp.zeros((height, width), jnp.float32)
    total, _ = jax.lax.scan(add, start, (jnp.arange(frames, dtype=jnp.int32), original[0], result[0]))
    return total


@dataclass(frozen=True)
class Quality:
    """PSNR in dB and SSIM of a clip. A figure that doesn't exist is None: PSNR without error, SSIM of tiny frames."""

    frames: int
    identical: bool
    """Every pixel of every frame is the same."""
    psnr_mean: float | None
    psnr_of_mean_mse: float | None
    ssim_mean: float | None
    psnr_by_frame: tuple[float | None, ...]
    ssim_by_frame: tuple[float | None, ...]

    def summary(self) -> dict[str, Any]:
        """The figures of the whole clip, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if not name.endswith("_by_frame")}


class QualityMeter:
    """Gathers the errors of frames, chunk by chunk; a few numbers a frame."""

    def __init__(self) -> None:
        self._mse: list[float] = []
        self._ssim: list[float | None] = []

    def add(self, mse: np.ndarray, ssim: np.ndarray | None) -> None:
        """Appends the frames that follow, [T] each, as `frame_errors` measured them."""
        self._mse.extend(mse.tolist())
        self._ssim.extend([None] * len(mse) if ssim is None else ssim.tolist())

    def quality(self) -> Quality:
        """What all frames so far come to. Raises ValueError without any."""
        if not self._mse:
            raise ValueError("no frame was measured")
        by_frame = tuple(psnr(mse) for mse in self._mse)
        return Quality(
            frames=len(by_frame),
            identical=not any(self._mse),
            psnr_mean=_mean([value for value in by_frame if value is not None]),
            psnr_of_mean_mse=psnr(math.fsum(self._mse) / len(self._mse)),
            ssim_mean=_mean([value for value in self._ssim if value is not None]),
            psnr_by_frame=by_frame,
            ssim_by_frame=tuple(self._ssim),
        )


def psnr(mse: float) -> float | None:
    """PSNR in dB of a mean squared error in 8-bit units; None without error."""
    return 10 * math.log10(PEAK**2 / mse) if mse else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
