"""The figures of a report as JSON: docs/report.md says what each of them is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cogvae_cli.model.config import SPACE
from cogvae_cli.pipeline.results import rate_text

if TYPE_CHECKING:
    import numpy as np

    from cogvae_cli.io.perceptual import Perceptual
    from cogvae_cli.io.video_reader import VideoInfo
    from cogvae_cli.model.tiling import Grid
    from cogvae_cli.pipeline.recording import Recorded
    from cogvae_cli.report.latent_channels import LatentFigures
    from cogvae_cli.report.metrics import Quality

NOT_ASKED = "VMAF and XPSNR are measured with --report or --min-vmaf"


def quality_facts(quality: Quality, perceptual: Perceptual | None) -> dict[str, Any]:
    """The figures of the clip; `not_measured` says why one of ffmpeg's is missing."""
    if perceptual is None:
        return quality.summary() | {"vmaf_mean": None, "xpsnr_y": None, "not_measured": NOT_ASKED}
    return quality.summary() | {
        "vmaf_mean": _rounded(perceptual.vmaf_mean),
        "xpsnr_y": _rounded(perceptual.xpsnr_y),
        "not_measured": perceptual.reason,
    }


def definitions(perceptual: Perceptual | None) -> dict[str, str]:
    """What each figure of the clip is, in words."""
    from cogvae_cli.io import perceptual as by_ffmpeg
    from cogvae_cli.report.metrics import DEFINITIONS

    return dict(DEFINITIONS) | ({} if perceptual is None else by_ffmpeg.DEFINITIONS)


def frame_facts(quality: Quality, perceptual: Perceptual | None) -> dict[str, Any]:
    """The figures of each frame; an empty list for what was not measured."""
    facts: dict[str, Any] = {"psnr": list(quality.psnr_by_frame), "ssim": list(quality.ssim_by_frame)}
    if perceptual is not None:
        facts |= {"vmaf": list(perceptual.vmaf_by_frame), "xpsnr_y": list(perceptual.xpsnr_y_by_frame)}
    return facts


def place_facts(recorded: Recorded) -> dict[str, Any]:
    """Errors by row, column and square, and which frames the page shows."""
    places = recorded.places
    return {
        "by_row": {"rmse": _listed(places.by_row)},
        "by_column": {"rmse": _listed(places.by_column)},
        "cells": {"pixels": places.cell, "rmse": [_listed(row) for row in places.cells]},
        "frames_shown": {name: number for name, (number, _) in recorded.shown.items()},
    }


def border_facts(grid: Grid | None, height: int, width: int) -> dict[str, list[list[int]]] | None:
    """Where tiles meet, in pixels: from the start of one to the end of the one before it. None for whole frames."""
    if grid is None:
        return None
    spans = {"rows": (grid.rows, height), "columns": (grid.columns, width)}
    return {
        name: [
            [after.start * SPACE, min((before.start + before.length) * SPACE, most)]
            for before, after in itertools.pairwise(parts)
        ]
        for name, (parts, most) in spans.items()
    }


def latent_facts(figures: LatentFigures, scaling_factor: float) -> dict[str, Any]:
    """Statistics of the latents, unscaled, by channel and all together."""
    names = ("mean", "deviation", "minimum", "maximum", "unit_factor")
    return {
        "scaling_factor": scaling_factor,
        "values_by_channel": figures.count,
        "mean": _rounded(figures.mean),
        "deviation": _rounded(figures.deviation),
        "unit_factor": _rounded(figures.unit_factor),
        "histogram_reach": figures.reach,
        "channels": [
            {name: _rounded(getattr(channel, name)) for name in names} | {"histogram": list(channel.histogram)}
            for channel in figures.channels
        ],
    }


def input_facts(info: VideoInfo) -> dict[str, Any]:
    """What was read, as its headers and its first frame say."""
    return {
        "name": info.name,
        "bytes": info.bytes,
        "container": info.container,
        "codec": info.codec,
        "pix_fmt": info.pix_fmt,
        "width": info.width,
        "height": info.height,
        "rate": None if info.rate is None else rate_text(info.rate),
        "colour": asdict(info.colour),
    }


def plain_bytes(frames: int, size: tuple[int, int]) -> int:
    """Of that many frames as 8-bit RGB."""
    width, height = size
    return frames * width * height * 3


def size_facts(frames: int, size: tuple[int, int], shape: Sequence[int], source_bytes: int) -> dict[str, Any]:
    """Bytes of the video in its forms. The ratio compares plain frames with latents of two bytes a value."""
    plain, values = plain_bytes(frames, size), math.prod(shape)
    return {
        "source_bytes": source_bytes,
        "plain_rgb_bytes": plain,
        "latents_values": values,
        "latents_float32_bytes": 4 * values,
        "latents_bfloat16_bytes": 2 * values,
        "values_ratio": round(plain / values, 2),
        "bytes_ratio": round(plain / (2 * values), 2),
    }


def _listed(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
