"""Pictures as bytes, to be put into a page."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

WEBP_QUALITY = 92
_MOST_WEBP = 16_383  # pixels a side, by the format


def webp_bytes(pixels: np.ndarray) -> bytes:
    """A picture for looking at, uint8 [H W 3], next to lossless; of a side too long for WebP as PNG."""
    if max(pixels.shape[:2]) > _MOST_WEBP:
        return png_bytes(pixels)
    return _bytes(pixels, "WEBP", WEBP_QUALITY)


def png_bytes(pixels: np.ndarray) -> bytes:
    """A picture to the bit, uint8 [H W 3]."""
    return _bytes(pixels, "PNG", None)


def _bytes(pixels: np.ndarray, kind: str, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    options = {} if quality is None else {"quality": quality}
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **options)
    return buffer.getvalue()
