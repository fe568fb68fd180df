"""Frames made to fit the network, and back: edges repeated up to multiples of 8, the tail up to 8k+1 or cut off.

Axes: [T H W 3], uint8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from cogvae_cli.errors import VideoError
from cogvae_cli.model.chunks import FIRST_FRAMES, FRAMES, encode_plan, is_exact, padded, trimmed
from cogvae_cli.model.config import SPACE
from cogvae_cli.pipeline.options import FramesPolicy


@dataclass(frozen=True)
class Chunk:
    """Frames as the encoder takes them: [9, 8 or 1, H, W, 3], H and W multiples of 8."""

    frames: np.ndarray
    first: int
    """Number of its first frame in the clip, from 0."""
    count: int
    """Frames of the video among them; those after are repeats of the last."""


def first_length(policy: FramesPolicy, count: int | None) -> int:
    """Frames of a clip's first chunk; the others have 8. `exact` needs to know the count of frames.

    Raises VideoError for a count that upstream doesn't give back, under `exact`.
    """
    if policy != "exact":
        return FIRST_FRAMES
    if count is None:
        raise ValueError("exact needs the count of frames")
    if not is_exact(count):
        below = max(trimmed(count), count // FRAMES * FRAMES)
        raise VideoError(
            f"{count} frames don't come back as {count}: only 1, 8k and 8k+1 do",
            f"take {below} frames, or another --frames-policy: pad repeats the last frame, trim drops the last ones",
        )
    return encode_plan(count)[0]


def prepared(chunks: Iterable[np.ndarray], policy: FramesPolicy = "pad") -> Iterator[Chunk]:
    """Makes the chunks of a clip, cut as 9, 8, 8, …, the last one as short as it comes, fit the network.

    pad: the last frame is repeated up to 8k+1. trim: frames over 8k+1 are dropped. exact: chunks are whole already.
    """
    first = 0
    for frames in _whole(chunks) if policy == "trim" else chunks:
        fitting = pad_edges(frames)
        yield Chunk(pad_tail(fitting, first) if policy == "pad" else fitting, first, len(frames))
        first += len(frames)


def _whole(chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Drops a last chunk that isn't whole; of a clip shorter than the first chunk, one frame is left."""
    whole = FIRST_FRAMES
    for frames in chunks:
        if len(frames) == whole:
            yield frames
        elif whole == FIRST_FRAMES:
            yield frames[:1]
        whole = FRAMES


def padding(size: int) -> int:
    """Pixels that a side of that many pixels lacks to a multiple of 8: 272 -> 0, 405 -> 3."""
    return -size % SPACE


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The size that a frame is computed at."""
    return height + padding(height), width + padding(width)


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
