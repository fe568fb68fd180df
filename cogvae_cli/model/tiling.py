"""The plan of space: which tiles a frame is computed in, and how they become one frame again.

Plans count in latents (8x8 pixels); tiles and overlaps that users give are in pixels. Each tile streams by itself, with
a cache of its own; a tile's norms see that tile alone, so a tiled result is near the untiled one, not equal to it.
Axes: B batch, T time, H height, W width, C channels.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cogvae_cli.errors import UsageError
from cogvae_cli.model.config import SPACE, TileLayout

Tile = Float[Array, "B _ _ _ C"]

FADE_FROM = 0.35
"""The part of an overlap before uniform tiles fade (docs/performance.md has others' seams and errors)."""


@dataclasses.dataclass(frozen=True)
class Span:
    """Where a tile lies along one axis, in latents."""

    start: int
    length: int


@dataclasses.dataclass(frozen=True)
class Grid:
    """The tiles of one frame: every row with every column. In latents."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]
    overlap_rows: int
    overlap_columns: int
    layout: TileLayout

    def sizes(self) -> list[tuple[int, int]]:
        """The sizes of its tiles, each once: one for uniform tiles."""
        return list(dict.fromkeys((row.length, column.length) for row in self.rows for column in self.columns))


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Tile size and overlap in pixels, all multiples of 8; frames that fit in one tile are computed whole.

    uniform: equal tiles, shifted inward so that none hangs over, weighted by ramps that add up to one.
    reference: upstream's grid, whose last tiles may be slivers, and upstream's blending, numerically the same.
    Raises UsageError for a geometry that gives wrong sizes, naming the nearest right values.
    Reference: diffusers AutoencoderKLCogVideoX.tiled_encode and .tiled_decode.
    """

    height: int
    width: int
    overlap_height: int
    overlap_width: int
    layout: TileLayout = "uniform"

    def __post_init__(self) -> None:
        _check_axis("height", self.height, self.overlap_height)
        _check_axis("width", self.width, self.overlap_width)

    @classmethod
    def of(cls, width: int, height: int, layout: TileLayout = "uniform") -> Tiling:
        """Tiles of that size with upstream's overlaps: 1/6 of the height, 1/5 of the width.

        uniform rounds an overlap to a multiple of 8. reference refuses a size whose overlap is none: upstream's own
        arithmetic gives frames of a wrong size there.
        """
        overlaps: list[int] = []
        for side, size, parts in (("height", height, 6), ("width", width, 5)):
            if layout == "reference" and size % (SPACE * parts):
                raise UsageError(
                    f"a reference tile {side} of {size} px overlaps by {size / parts:.1f} px, no multiple of {SPACE}",
                    f"take {_around(size, SPACE * parts)}, or the uniform layout",
                )
            overlaps.append(SPACE * round(size / parts / SPACE))
        overlap_height, overlap_width = overlaps
        return cls(height, width, overlap_height, overlap_width, layout)

    def grid(self, height: int, width: int) -> Grid | None:
        """The tiles of a frame of that size in pixels; None if it fits in one."""
        if height <= self.height and width <= self.width:
            return None
        axis = _shifted if self.layout == "uniform" else _hanging
        return Grid(
            axis(height // SPACE, self.height // SPACE, self.overlap_height // SPACE),
            axis(width // SPACE, self.width // SPACE, self.overlap_width // SPACE),
            self.overlap_height // SPACE,
            self.overlap_width // SPACE,
            self.layout,
        )


def _check_axis(side: str, size: int, overlap: int) -> None:
    if size < SPACE or size % SPACE:
        raise UsageError(f"a tile {side} of {size} px is no multiple of {SPACE}", f"take {_around(size, SPACE)}")
    if overlap % SPACE or not 0 <= overlap < size:
        raise UsageError(
            f"an overlap of {overlap} px doesn't suit a tile {side} of {size} px",
            f"take a multiple of {SPACE} from 0 to {size - SPACE}",
        )


def _around(size: int, step: int) -> str:
    """The multiples of `step` next to a size, in words."""
    below, above = size // step * step, -(-size // step) * step
    return f"{below} or {above}" if below and below != above else f"{above or step}"


def _shifted(length: int, tile: int, overlap: int) -> tuple[Span, ...]:
    """The fewest equal tiles that cover the axis with at least that overlap, evenly spread."""
    tile = min(tile, length)
    count = 1 if tile == length else -(-(length - tile) // (tile - overlap)) + 1
    return tuple(Span(i * (length - tile) // max(count - 1, 1), tile) for i in range(count))


def _hanging(length: int, tile: int, overlap: int) -> tuple[Span, ...]:
    """Upstream's tiles: at every stride from 0, cut off at the end of the axis."""
    return tuple(Span(start, min(tile, length - start)) for start in range(0, length, tile - overlap))


Out = TypeVar("Out")
Step = Callable[[Any, Any], tuple[Out, Any]]


def run(step: Step[Out], x: jax.Array | np.ndarray, caches: Any, grid: Grid, scale: int) -> tuple[list[list[Out]], Any]:
    """Steps every tile of x [B T H W C] with its own cache; `scale` is what a latent measures in x.

    Returns what each tile became, by row and column, and the caches.
    """
    tiles = list(itertools.product(grid.rows, grid.columns))
    out, new = [], []
    for (row, column), cache in zip(tiles, caches or [None] * len(tiles), strict=True):
        part = x[:, :, _cut(row, scale), _cut(column, scale)]
        result, cache = step(part, cache)
        if _on_cpu(result):  # which would compute several at once, each in work memory of its own
            jax.block_until_ready(result)  # type: ignore[no-untyped-call]
        out.append(result)
        new.append(cache)
    across = len(grid.columns)
    return [out[i : i + across] for i in range(0, len(out), across)], tuple(new)


def _on_cpu(result: Any) -> bool:
    return all(device.platform == "cpu" for device in jax.tree.leaves(result)[0].devices())


def _cut(span: Span, scale: int) -> slice:
    return slice(span.start * scale, (span.start + span.length) * scale)


@functools.partial(jax.jit, static_argnames=("grid", "scale"))
def assemble(tiles: Sequence[Sequence[Tile]], *, grid: Grid, scale: int) -> Float[Array, "B T H W C"]:
    """One frame of many tiles; `scale` is what a latent measures in them: 1 for latents, 8 for pixels."""
    if grid.layout == "reference":
        return _blend_with_neighbours(tiles, grid, scale)
    return _add_weighted(tiles, grid, scale)


def _blend_with_neighbours(tiles: Sequence[Sequence[Tile]], grid: Grid, scale: int) -> jax.Array:
    """Each tile is blended with the one above, then the one to the left, as those came out of their own blending."""
    blended: list[list[jax.Array]] = []
    rows = []
    for i, row in enumerate(tiles):
        blended.append([])
        for j, tile in enumerate(row):
            if i > 0:
                tile = _blend(blended[i - 1][j], tile, grid.overlap_rows * scale, axis=2)
            if j > 0:
                tile = _blend(blended[i][j - 1], tile, grid.overlap_columns * scale, axis=3)
            blended[i].append(tile)
        rows.append(jnp.concatenate([_keep(tile, grid, scale, j=j) for j, tile in enumerate(blended[i])], axis=3))
    keep = [_stride(grid.rows, i) * scale for i in range(len(rows))]
    return jnp.concatenate([row[:, :, :size] for row, size in zip(rows, keep, strict=True)], axis=2)


def _keep(tile: jax.Array, grid: Grid, scale: int, *, j: int) -> jax.Array:
    return tile[:, :, :, : _stride(grid.columns, j) * scale]


def _stride(spans: tuple[Span, ...], index: int) -> int:
    """How much of a tile is its own: up to the start of the next one, or to its end."""
    span = spans[index]
    return spans[index + 1].start - span.start if index + 1 < len(spans) else span.length


def _blend(before: jax.Array, tile: jax.Array, extent: int, *, axis: int) -> jax.Array:
    """Fades from the end of one tile into the start of the next; slivers fade over what they have."""
    extent = min(before.shape[axis], tile.shape[axis], extent)
    if extent == 0:
        return tile
    ramp = np.arange(extent, dtype=np.float32) / np.float32(extent)
    shape = [1] * tile.ndim
    shape[axis] = extent
    up = jnp.asarray(ramp.reshape(shape))
    end = jax.lax.slice_in_dim(before, before.shape[axis] - extent, before.shape[axis], axis=axis)
    start = jax.lax.slice_in_dim(tile, 0, extent, axis=axis)
    rest = jax.lax.slice_in_dim(tile, extent, tile.shape[axis], axis=axis)
    return jnp.concatenate([end * (1 - up) + start * up, rest], axis=axis)


def _add_weighted(tiles: Sequence[Sequence[Tile]], grid: Grid, scale: int) -> jax.Array:
    """The sum of all tiles, each times a weight that fades out where it overlaps; the weights add up to one."""
    down, across = _weights(grid.rows, scale), _weights(grid.columns, scale)
    corner = tiles[-1][-1]
    height, width = ((spans[-1].start + spans[-1].length) * scale for spans in (grid.rows, grid.columns))
    whole = jnp.zeros((*corner.shape[:2], height, width, corner.shape[4]), corner.dtype)
    for row, weight_down, line in zip(grid.rows, down, tiles, strict=True):
        for column, weight_across, tile in zip(grid.columns, across, line, strict=True):
            weight = jnp.asarray(np.outer(weight_down, weight_across)[None, None, :, :, None])
            whole = whole.at[:, :, _cut(row, scale), _cut(column, scale)].add(tile * weight)
    return whole


def _weights(spans: tuple[Span, ...], scale: int) -> list[np.ndarray]:
    """A float32 weight for every position of each tile along one axis."""
    size = (spans[-1].start + spans[-1].length) * scale
    ramps = np.zeros((len(spans), size))
    for index, span in enumerate(spans):
        start, stop = span.start * scale, (span.start + span.length) * scale
        place = np.arange(start, stop) + 0.5
        left = (spans[index - 1].start + spans[index - 1].length) * scale - start if index else 0
        right = stop - spans[index + 1].start * scale if index + 1 < len(spans) else 0
        rise = _fade((place - start) / left) if left else np.ones_like(place)
        fall = _fade((stop - place) / right) if right else np.ones_like(place)
        ramps[index, start:stop] = rise * fall
    ramps /= ramps.sum(axis=0)
    return [
        ramps[index, span.start * scale : (span.start + span.length) * scale].astype(np.float32)
        for index, span in enumerate(spans)
    ]


def _fade(place: np.ndarray) -> np.ndarray:
    """From 0 to 1 across the middle of an overlap: next to its edge, where it met zeros, a tile has no say."""
    x = np.clip((place - FADE_FROM) / (1 - 2 * FADE_FROM), 0, 1)
    return np.asarray(x * x * (3 - 2 * x))
