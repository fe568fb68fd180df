"""What one training step sees: crops of clips and of stills in motion, and flat colours, drawn from a seed.

A sample depends on its seed and its number only, so a run that goes on after a break draws what it would have drawn.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from PIL import Image

AHEAD = 3
"""Samples that are prepared while the step before them runs."""

FLAT = 0.08
"""Share of samples without any picture: one colour, or a grid of them."""
PATCHED = 0.15
"""Share of the others that have a rectangle of one colour laid over them."""
STILLS = 0.3
"""Share of clips that are a still under a moving camera."""

PURE = np.array(list(itertools.product((0, 255), repeat=3)), np.uint8)
"""Black, white, the primaries and the secondaries."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """The size of one kind of sample: clips of that many frames, squares of that many pixels a side."""

    batch: int
    frames: int
    side: int
    flat: bool = False
    """No pictures, but flat colours and grids of them only."""
    window: int = 0
    """Side in latents of the square that is decoded, as a tile would be; 0 decodes all."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"{self.frames}x{self.side}" + (f"/{self.window}" if self.window else "")


class Samples:
    """Draws samples from the pixels of all media.

    clips: uint8 [T H W 3] each; stills: uint8 [1 H W 3] each.
    """

    def __init__(self, media: Sequence[np.ndarray], seed: int) -> None:
        self.clips = [pixels for pixels in media if len(pixels) > 1]
        self.stills = [pixels for pixels in media if len(pixels) == 1]
        self._seed = seed
        counts = np.sqrt([len(clip) for clip in self.clips])  # a long clip is drawn more often, but not by its length
        self._share = counts / counts.sum()

    def draw(self, number: int, shape: Shape) -> np.ndarray:
        """Sample `number`: uint8 [batch frames side side 3]."""
        rng = np.random.default_rng((self._seed, number))
        return np.stack([self._one(rng, shape) for _ in range(shape.batch)])

    def _one(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        if shape.flat or rng.random() < FLAT:
            return _flat(rng, shape)
        still = rng.random() < STILLS or max(map(len, self.clips)) < shape.frames
        frames = self._still(rng, shape) if still else self._clip(rng, shape)
        if rng.random() < 0.5:
            frames = frames[:, :, ::-1]
        if rng.random() < 0.5:
            frames = frames[::-1]
        frames = _recoloured(rng, frames)
        return _patched(rng, frames) if rng.random() < PATCHED else frames

    def _clip(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        """Frames of one clip, one, two or three apart."""
        clip = self.clips[rng.choice(len(self.clips), p=self._share)]
        most = (len(clip) - 1) // max(shape.frames - 1, 1)
        stride = min(int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15))), most)
        start = int(rng.integers(len(clip) - stride * (shape.frames - 1)))
        box = _box(rng, clip.shape[1:3], shape.side)
        left, top, right, bottom = (round(edge) for edge in box)
        cut = clip[start : start + stride * (shape.frames - 1) + 1 : stride, top:bottom, left:right]
        return np.stack([_resized(frame, (0, 0, right - left, bottom - top), shape.side) for frame in cut])

    def _still(self, rng: np.random.Generator, shape: Shape) -> np.ndarray:
        """A camera that moves and zooms over a still, at an even speed."""
        stills = self.stills or self.clips  # of which any frame will do
        medium = stills[rng.integers(len(stills))]
        still = medium[rng.integers(len(medium))]
        size = still.shape[:2]
        first, last = np.array(_box(rng, size, shape.side)), np.array(_box(rng, size, shape.side))
        reach = rng.random() ** 2 * min(1.0, 3 * shape.side * shape.frames / 9 / max(np.abs(last - first).max(), 1.0))
        steps = np.linspace(0, reach, shape.frames)
        return np.stack([_resized(still, tuple(first + step * (last - first)), shape.side) for step in steps])


def _box(rng: np.random.Generator, size: tuple[int, int], side: int) -> tuple[float, float, float, float]:
    """A square within [H W] that becomes `side` pixels wide: at the medium's own scale, or shrunk by any factor."""
    widest = min(size)
    length = min(side, widest) if rng.random() < 0.4 else rng.uniform(min(side, widest), widest)
    top, left = (rng.uniform(0, edge - length) for edge in size)
    return left, top, left + length, top + length


def _resized(frame: np.ndarray, box: tuple[float, float, float, float], side: int) -> np.ndarray:
    if frame.shape[:2] == (side, side) and box == (0, 0, side, side):
        return frame
    picture = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, box=box))


def _recoloured(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    """Other contrast, brightness, saturation, or an exchange of channels; half of the frames stay as they are."""
    if rng.random() < 0.5:
        return frames
    x = frames.astype(np.float32)
    grey = x.mean(axis=-1, keepdims=True)
    x = grey + (x - grey) * np.float32(rng.uniform(0.4, 1.8))
    x = (x - 127.5) * np.float32(rng.uniform(0.7, 1.25)) + np.float32(127.5 + rng.uniform(-30, 30))
    if rng.random() < 0.3:
        x = x[..., rng.permutation(3)]
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator) -> np.ndarray:
    """A pure colour, a grey, or any."""
    kind = rng.random()
    if kind < 0.4:
        return PURE[rng.integers(len(PURE))]
    return rng.integers(0, 256, 1 if kind < 0.55 else 3, np.uint8) * np.ones(3, np.uint8)


def _flat(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """One colour, or a grid of colours with edges anywhere."""
    rows, columns = (1, 1) if rng.random() < 0.5 else rng.integers(1, 5, 2)
    picture = np.zeros((shape.side, shape.side, 3), np.uint8)
    tops, lefts = (np.sort(rng.integers(0, shape.side, count - 1)) for count in (rows, columns))
    for row in np.split(picture, tops):
        for cell in np.split(row, lefts, axis=1):
            cell[:] = _colour(rng)
    return np.broadcast_to(picture, (shape.frames, *picture.shape)).copy()


def _patched(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    side = frames.shape[1]
    height, width = rng.integers(side // 8, side * 3 // 4, 2)
    top, left = rng.integers(0, side - height), rng.integers(0, side - width)
    frames = frames.copy()
    frames[:, top : top + height, left : left + width] = _colour(rng)
    return frames


def ahead(draw: Callable[[int], np.ndarray], numbers: Sequence[int]) -> Iterator[np.ndarray]:
    """The samples of those numbers, in order, a few of them prepared in a thread ahead of their use."""
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[np.ndarray]] = [pool.submit(draw, number) for number in numbers[:AHEAD]]
        for place in range(len(numbers)):
            if place + AHEAD < len(numbers):
                waiting.append(pool.submit(draw, numbers[place + AHEAD]))
            yield waiting.pop(0).result()
