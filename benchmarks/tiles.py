"""How near tiled results come to untiled ones: uniform tiles against the reference's, at about equal compute.

For each clip 9 frames are scaled to 480x272 and computed whole, in 3x2 uniform tiles, and in the 3x3 tiles (the last
ones slivers) of the reference's grid. PSNR is against the untiled result, over its range. The seam is the mean
error next to the borders of the overlaps over that elsewhere in them; the last lines take all clips together.

    python benchmarks/tiles.py                    the built-in clip
    python benchmarks/tiles.py A.mp4 B.mkv@3      others, from 3 seconds on
    python benchmarks/tiles.py --fades            and uniform tiles that fade in other ways
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from cogvae_cli import load  # noqa: E402
from cogvae_cli.io.video_reader import VideoReader  # noqa: E402
from cogvae_cli.model import tiling as tiles  # noqa: E402
from cogvae_cli.model.autoencoder import VAE  # noqa: E402
from cogvae_cli.model.tiling import Grid, Tiling  # noqa: E402
from cogvae_cli.pipeline.roundtrip import built_in_clip  # noqa: E402
from cogvae_cli.pipeline.video_options import ReadOptions  # noqa: E402

WIDTH, HEIGHT, FRAMES = 480, 272, 9
Seams = dict[str, tuple[list[tuple[float, float]], list[tuple[float, float]]]]
"""By layout, for encode and decode: a pair a clip of what seam() gives."""
UNIFORM, REFERENCE = Tiling.of(200, 152, "uniform"), Tiling.of(240, 144, "reference")


def smooth(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * x * (3 - 2 * x))


@dataclass(frozen=True)
class Layout:
    """A grid, and how its tiles fade into each other: over which share of an overlap, by which curve; None: as is."""

    name: str
    tiling: Tiling
    share: float | None = None
    curve: Callable[[np.ndarray], np.ndarray] = smooth

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """The product's weights are made by this fade meanwhile."""
        kept = tiles._fade
        if self.share is not None:
            tiles._fade = self._fade
        tiles.assemble.clear_cache()
        try:
            yield
        finally:
            tiles._fade = kept
            tiles.assemble.clear_cache()

    def _fade(self, place: np.ndarray) -> np.ndarray:
        return self.curve(np.clip((place - 0.5) / (self.share or 1) + 0.5, 0, 1))


LAYOUTS = (Layout("uniform", UNIFORM), Layout("reference", REFERENCE))
FADES = (
    Layout("uniform, linear over all of an overlap", UNIFORM, 1.0, np.asarray),
    Layout("uniform, smooth over all of an overlap", UNIFORM, 1.0),
    Layout("uniform, smooth over half of an overlap", UNIFORM, 0.5),
)


def frames_of(path: Path, start: Fraction) -> np.ndarray:
    """[1 T H W 3] in [-1, 1]."""
    with VideoReader(path, ReadOptions(start=start, frames=FRAMES, size=(WIDTH, HEIGHT))) as reader:
        pixels = np.stack(list(reader.frames()))[None]
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def grid_of(tiling: Tiling) -> Grid:
    grid = tiling.grid(HEIGHT, WIDTH)
    if grid is None:
        raise SystemExit("the frame fits into one tile")
    return grid


def psnr(tiled: np.ndarray, whole: np.ndarray) -> float:
    return float(10 * np.log10(np.ptp(whole) ** 2 / np.mean((tiled - whole) ** 2)))


def seam(tiled: np.ndarray, whole: np.ndarray, grid: Grid, scale: int) -> tuple[float, float]:
    """The error next to the borders of the overlaps and elsewhere in them, as parts of the frame's mean error."""
    error = np.abs(tiled - whole).mean(axis=(0, 1, 4))  # [H W]
    error /= error.mean()
    overlaps, borders = np.zeros(error.shape, bool), np.zeros(error.shape, bool)
    for axis, spans in enumerate((grid.rows, grid.columns)):
        for one, other in pairwise(spans):
            start, stop = other.start * scale, (one.start + one.length) * scale
            places: list[slice] = [slice(None), slice(None)]
            places[axis] = slice(start, stop)
            overlaps[tuple(places)] = True
            for border in (start, stop):
                places[axis] = slice(border - 1, border + 1)
                borders[tuple(places)] = True
    return float(error[borders].mean()), float(error[overlaps & ~borders].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", metavar="CLIP[@SECONDS]")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--fades", action="store_true", help="try other fades of uniform tiles too")
    chosen = parser.parse_args()
    vae = load(chosen.model)
    for layout in LAYOUTS:
        grid = grid_of(layout.tiling)
        area = sum(row.length for row in grid.rows) * sum(column.length for column in grid.columns)
        whole = HEIGHT * WIDTH // 64
        print(f"{layout.name}: {len(grid.columns)}x{len(grid.rows)} tiles, {area / whole:.2f} times the frame's area")
    print("\n| clip | layout | encode PSNR | decode PSNR | encode seam | decode seam |\n|---|---|---|---|---|---|")
    layouts = (*LAYOUTS, *(FADES if chosen.fades else ()))
    seams: Seams = {layout.name: ([], []) for layout in layouts}
    with built_in_clip() as clip:
        for name in chosen.clips or [str(clip)]:
            path, _, start = name.partition("@")
            rows(vae, layouts, Path(path), Fraction(start or 0), seams)
    for name, directions in seams.items():
        print(f"| all | {name} | | | {' | '.join(ratio(pairs) for pairs in directions)} |")


def ratio(pairs: list[tuple[float, float]]) -> str:
    """Borders over elsewhere, both summed over the clips."""
    borders, elsewhere = np.sum(pairs, axis=0)
    return f"{borders / elsewhere:.2f}"


def rows(vae: VAE, layouts: Sequence[Layout], path: Path, start: Fraction, seams: Seams) -> None:
    frames = frames_of(path, start)
    mean = np.asarray(vae.encode(frames).mean)
    decoded = np.asarray(vae.decode(mean))
    for layout in layouts:
        tiled, grid = vae.tiled(layout.tiling), grid_of(layout.tiling)
        with layout.chosen():
            latents, result = np.asarray(tiled.encode(frames).mean), np.asarray(tiled.decode(mean))
        figures = f"{psnr(latents, mean):.2f} dB | {psnr(result, decoded):.2f} dB"
        own = seam(latents, mean, grid, 1), seam(result, decoded, grid, 8)
        for pairs, pair in zip(seams[layout.name], own, strict=True):
            pairs.append(pair)
        print(f"| {path.name} | {layout.name} | {figures} | {' | '.join(ratio([pair]) for pair in own)} |", flush=True)


if __name__ == "__main__":
    main()
