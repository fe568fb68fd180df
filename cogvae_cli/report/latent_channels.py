"""What the latents look like, channel by channel: mean, deviation and histogram, gathered chunk by chunk."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

BINS = 64
"""Of a histogram; even, so that a range that doubles merges them in pairs."""


@dataclass(frozen=True)
class ChannelFigures:
    """Statistics of one channel over a clip; deviations are those of the values themselves, not of a sample."""

    mean: float
    deviation: float
    minimum: float
    maximum: float
    unit_factor: float | None
    """1 / deviation: what the channel times this has a deviation of one. None for a constant channel."""
    histogram: tuple[int, ...]
    """Counts of BINS equal bins from -`reach` to `reach`."""


@dataclass(frozen=True)
class LatentFigures:
    """Statistics of a clip's unscaled latents."""

    channels: tuple[ChannelFigures, ...]
    reach: float
    """The histograms go from -reach to reach; a power of two, the same for all channels."""
    count: int
    """Values of each channel."""
    mean: float
    deviation: float
    unit_factor: float | None
    """1 / deviation of all channels together: what a scaling factor aims at."""


class LatentsMeter:
    """Adds latents up by channel, in float64; memory doesn't grow with length.

    The range of the histogram doubles when a value lies outside; its bins merge in pairs then, so no count is lost.
    """

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._sum = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._low = np.full(channels, np.inf)
        self._high = np.full(channels, -np.inf)
        self._bins = np.zeros((channels, BINS), np.int64)
        self._reach = 0.0

    def add(self, latents: np.ndarray) -> None:
        """Takes in the latent frames that follow, [t h w C]."""
        values = latents.reshape(-1, latents.shape[-1]).astype(np.float64)
        self._count += len(values)
        self._sum += values.sum(axis=0)
        self._squares += np.square(values).sum(axis=0)
        self._low = np.minimum(self._low, values.min(axis=0))
        self._high = np.maximum(self._high, values.max(axis=0))
        self._widen(float(np.abs(values).max()))
        places = np.floor((values + self._reach) * (BINS / (2 * self._reach))).astype(np.int64)
        for channel, column in enumerate(np.clip(places, 0, BINS - 1).T):
            self._bins[channel] += np.bincount(column, minlength=BINS)

    def figures(self) -> LatentFigures:
        """What all latents so far come to. Raises ValueError without any."""
        if not self._count:
            raise ValueError("no latents were measured")
        means = self._sum / self._count
        variances = np.maximum(self._squares / self._count - np.square(means), 0)
        channels = tuple(
            ChannelFigures(
                mean=float(means[index]),
                deviation=math.sqrt(variances[index]),
                minimum=float(self._low[index]),
                maximum=float(self._high[index]),
                unit_factor=_unit(math.sqrt(variances[index])),
                histogram=tuple(self._bins[index].tolist()),
            )
            for index in range(len(means))
        )
        mean = float(means.mean())
        deviation = math.sqrt(max(float(self._squares.sum()) / (self._count * len(means)) - mean**2, 0.0))
        return LatentFigures(channels, self._reach, self._count, mean, deviation, _unit(deviation))

    def _widen(self, largest: float) -> None:
        if not self._reach:
            self._reach = 2.0 ** math.ceil(math.log2(largest)) if largest else 1.0
        while self._reach < largest:
            quarter = BINS // 4
            pairs = self._bins.reshape(len(self._bins), BINS // 2, 2).sum(axis=2)
            self._bins = np.pad(pairs, ((0, 0), (quarter, quarter)))
            self._reach *= 2


def _unit(deviation: float) -> float | None:
    return 1 / deviation if deviation else None
