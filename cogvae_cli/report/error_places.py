"""Where in the picture the errors are: sums over the frames of a clip, of the size of one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_CELLS = 96
"""Cells along the longer side of the map."""


@dataclass(frozen=True)
class ErrorPlaces:
    """Root mean squared errors in 8-bit levels, over all frames and the three channels."""

    by_row: np.ndarray
    """[H], from the top."""
    by_column: np.ndarray
    """[W], from the left."""
    cells: np.ndarray
    """[rows, columns]: squares of `cell` pixels, from the top left; those at the far edges may be smaller."""
    cell: int


class PlaceMeter:
    """Adds up squared errors by pixel, in float64: one array of a frame's size, whatever the clip's length."""

    def __init__(self, height: int, width: int) -> None:
        self._total = np.zeros((height, width))
        self._frames = 0

    def add(self, squared: np.ndarray, frames: int) -> None:
        """Takes in sums over that many frames, [H' W'], of which the first H rows and W columns count."""
        height, width = self._total.shape
        self._total += squared[:height, :width]
        self._frames += frames

    def places(self) -> ErrorPlaces:
        """What all frames so far come to. Raises ValueError without any."""
        if not self._frames:
            raise ValueError("no frame was measured")
        mean = self._total / self._frames  # [H W]
        cell = -(-max(mean.shape) // MOST_CELLS)
        return ErrorPlaces(
            by_row=np.sqrt(mean.mean(axis=1)), by_column=np.sqrt(mean.mean(axis=0)), cells=_cells(mean, cell), cell=cell
        )


def _cells(mean: np.ndarray, cell: int) -> np.ndarray:
    """Root of the mean within each square of `cell` pixels."""
    height, width = mean.shape
    rows, columns = np.arange(0, height, cell), np.arange(0, width, cell)
    sums = np.add.reduceat(np.add.reduceat(mean, rows, axis=0), columns, axis=1)
    sizes = np.outer(np.diff(np.append(rows, height)), np.diff(np.append(columns, width)))
    return np.asarray(np.sqrt(sums / sizes))
