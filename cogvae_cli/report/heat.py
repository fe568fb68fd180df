"""Colours for a map of errors: from dark, where there is none, to light."""

from __future__ import annotations

import numpy as np

_STOPS = np.array([[13, 17, 38], [72, 30, 105], [170, 47, 92], [233, 104, 56], [250, 187, 71], [255, 250, 208]])


def heat(cells: np.ndarray) -> np.ndarray:
    """uint8 [rows, columns, 3] of values from 0 on; the largest gets the lightest colour."""
    top = float(cells.max())
    places = np.clip(cells / top if top else np.zeros_like(cells), 0, 1) * (len(_STOPS) - 1)
    lower = np.minimum(places.astype(np.int64), len(_STOPS) - 2)
    share = (places - lower)[..., None]
    return np.asarray(np.round(_STOPS[lower] * (1 - share) + _STOPS[lower + 1] * share), np.uint8)


def heat_stops() -> list[str]:
    """The same colours for a style sheet, from no error to the largest."""
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in _STOPS.tolist()]
