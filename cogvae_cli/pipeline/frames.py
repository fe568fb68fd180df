"""Frames made to fit the network, and back: edges repeated up to multiples of 8, the tail up to 8k+1.

Axes: [T H W 3], uint8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from cogvae_cli.model.chunks import padded
from cogvae_cli.model.config import SPACE


@dataclass(frozen=True)
class Chunk:
    """Frames as the encoder takes them: [9, 8 or 1, H, W, 3], H and W multiples of 8."""

    frames: np.ndarray
    first: int
    """Number of its first frame in the clip, from 0."""
    count: int
    """Frames of the video among them; those after are repeats of the last."""


def prepared(chunks: Iterable[np.ndarray]) -> Iterator[Chunk]:
    """Pads the chunks of a clip, cut as 9, 8, 8, …, the last one as short as it comes."""
    first = 0
    for frames in chunks:
        yield Chunk(pad_tail(pad_edges(frames), first), first, len(frames))
        first += len(frames)


def padding(size: int) -> int:
    """Pixels that a side of that many pixels lacks to a multiple of 8: 272 -> 0, 405 -> 3."""
    return -size % SPACE


def pad_edges(frames: np.ndarray) -> np.ndarray:
    """Repeats the last row and column up to multiples of 8: [T H W 3] -> [T H' W' 3]."""
    _, height, width, _ = frames.shape
    bottom, right = padding(height), padding(width)
    if not bottom and not right:
        return frames
    return np.pad(frames, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")


def pad_tail(frames: np.ndarray, first: int) -> np.ndarray:
    """Repeats the last frame of a clip's last chunk so that the clip has 8k+1; other chunks stay as they are.

    `first` counts the frames before this chunk. A clip of a single frame stays one frame.
    """
    total = first + len(frames)
    missing = padded(total) - total
    if not missing:
        return frames
    return np.pad(frames, ((0, missing), (0, 0), (0, 0), (0, 0)), mode="edge")


def crop(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Takes off repeated edges: [T H' W' 3] -> [T H W 3], a view."""
    return frames[:, :height, :width]
