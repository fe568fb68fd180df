"""What results have in common when they are told: a version, and how sizes, rates and models are written."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from cogvae_cli.model.config import ModelSource

SCHEMA_VERSION = 1
"""Of every JSON object that the commands print; it grows when a field changes its meaning or goes away."""


def size_text(width: int, height: int) -> str:
    """`480x272`: width first, as everywhere a person sees a size."""
    return f"{width}x{height}"


def rate_text(rate: Fraction) -> str:
    """`24` or `30000/1001`, exact."""
    return str(rate)


def variable_rate_notice(rate: Fraction) -> str:
    """What is said when a video of varying rate is written at one rate."""
    return f"the frame rate of the source varies; the video is written at its mean, {rate} frames/s"


def model_facts(source: ModelSource) -> dict[str, Any]:
    """A model's source, ready for JSON."""
    return {
        "name": source.name,
        "revision": source.revision,
        "identity": source.identity,
        "files": dict(source.files),
    }
