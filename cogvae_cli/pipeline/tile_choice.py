"""Which tiles a clip is computed in, where that is left to the tool: none if whole frames fit, else the fewest that do.

An estimate chooses before anything is compiled; what the compiler says of the programs decides before the first frame.
Should the device run out all the same, the clip starts again with smaller tiles, once: norms make plans unequal, so one
clip has one plan.
"""

from __future__ import annotations

import functools
import gc
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from cogvae_cli.errors import DeviceMemoryError, UsageError
from cogvae_cli.model.config import SPACE
from cogvae_cli.pipeline.options import TileOptions
from cogvae_cli.pipeline.progress import Notices
from cogvae_cli.pipeline.results import size_text

if TYPE_CHECKING:
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.chunks import Part
    from cogvae_cli.model.form import Form
    from cogvae_cli.model.memory import Need
    from cogvae_cli.model.programs import Figures
    from cogvae_cli.model.tiling import Tiling

SMALLEST = 64
"""Pixels of a tile's side, at least."""

SAFE = 0.5
"""What a second attempt may take of the first one's estimate: there is no third."""

MOST = 64
"""Tiles of a frame, at most."""

Result = TypeVar("Result")

Check = Callable[[Mapping["Part", list["Figures"]]], None]
"""Told what the compiler says, before the first frame; raises PlanTooBigError if that is too much."""

Attempt = Callable[["VAE", Check], Result]
"""A whole clip, from its first frame."""

Lengths = Mapping["Part", Sequence[int]]
"""Of each direction that runs, the chunks' lengths: of the first, and of later ones if there are any."""


class PlanTooBigError(DeviceMemoryError):
    """The compiler says that the programs take so many times the memory there is; nothing has been computed yet."""

    def __init__(self, message: str, times: float) -> None:
        super().__init__(message)
        self.times = times


@dataclass(frozen=True)
class Budget:
    """What a plan has to fit into."""

    bytes: int
    platform: str


class TileChoice:
    """Goes from whole frames to ever smaller tiles, as far as it has to."""

    def __init__(self, form: Form, size: tuple[int, int], lengths: Lengths, budget: Budget) -> None:
        self._form = form
        self._size = size
        self._lengths = lengths
        self._budget = budget
        self._plans = itertools.chain([None], tilings(*size))
        self._restarted = False

    def next(self, limit: float | None = None) -> Form | None:
        """The next plan that is estimated to fit, or at `limit` bytes at most; None when no smaller tiles are left."""
        for tiling in self._plans:
            form = self._form.tiled(tiling)
            if total(self.estimate(form)) <= (self._budget.bytes if limit is None else limit):
                return form
        return None

    def estimate(self, form: Form) -> dict[Part, Need]:
        """What each direction takes with those tiles."""
        return {
            part: _need(form, part, self._size, tuple(lengths), self._budget.platform)
            for part, lengths in self._lengths.items()
        }

    def check(self, form: Form, figures: Mapping[Part, list[Figures]]) -> None:
        """Raises PlanTooBigError if compiled programs don't fit beside what stays on the device."""
        peak = compiled_total(figures, form.tiles(*self._size))
        if peak > self._budget.bytes:
            height, width = self._size
            taken = f"{size_text(width, height)} takes {peak / 1e9:.1f} GB{_in_tiles(form)}"
            raise PlanTooBigError(taken, peak / self._budget.bytes)

    def run(self, vae: VAE, attempt: Attempt[Result], notices: Notices) -> Result:
        """Runs the attempt with the first plan that fits; once more with smaller tiles if the device runs out.

        Raises DeviceMemoryError when no tiles are left, or the second attempt runs out too.
        """
        form = self.next()
        if form is None:
            raise self._nothing_fits()
        while True:
            try:
                return attempt(vae.tiled(form.tiling), functools.partial(self.check, form))
            except PlanTooBigError as error:
                # The estimate was too low by that: what is to fit must be estimated lower by as much.
                found = self.next(total(self.estimate(form)) / error.times)
                if found is None:
                    raise self._nothing_fits() from error
                notices.tell([f"{error}; frames are computed{_in_tiles(found)}"])
            except DeviceMemoryError as error:
                found = None if self._restarted else self.next(SAFE * total(self.estimate(form)))
                if found is None:
                    raise
                self._restarted = True
                notices.tell([f"{error}; the clip starts again{_in_tiles(found)}"])
            gc.collect()  # what the failed attempt held goes before the next one begins
            form = found

    def _nothing_fits(self) -> DeviceMemoryError:
        height, width = self._size
        return DeviceMemoryError(
            f"{size_text(width, height)} doesn't fit into {self._budget.bytes / 1e9:.1f} GB, in any tiles",
            "use a smaller video, or --dtype bfloat16, which halves what the network holds",
        )


@functools.lru_cache(maxsize=256)  # all clips of a batch ask for the same
def _need(form: Form, part: Part, size: tuple[int, int], lengths: tuple[int, ...], platform: str) -> Need:
    from cogvae_cli.model.memory import need

    return need(form.programs(part, size, lengths), form.tiles(*size), size, platform)


def total(needs: Mapping[Part, Need]) -> int:
    """Bytes of all directions together: one computes, and weights and caches of the others stay."""
    held = sum(one.weights + one.caches for one in needs.values())
    return held + max(one.chunks + one.work for one in needs.values())


def compiled_total(figures: Mapping[Part, list[Figures]], tiles: int) -> int:
    """The same by the compiler's word: the caches of all tiles stay while one of them computes."""
    caches = {part: max(one.outputs for one in found) for part, found in figures.items()}
    held = tiles * sum(caches.values())
    return max(held - caches[part] + max(one.total for one in found) for part, found in figures.items())


def _in_tiles(form: Form) -> str:
    tiling = form.tiling
    return "" if tiling is None else f" in tiles of {size_text(tiling.width, tiling.height)}"


def tilings(height: int, width: int) -> Iterator[Tiling]:
    """Uniform tiles for frames of that size, the fewest and then the smallest first."""
    from cogvae_cli.model.tiling import Tiling

    seen = set()
    shapes = ((rows, columns) for rows in range(1, MOST + 1) for columns in range(1, MOST // rows + 1))
    for rows, columns in sorted(shapes, key=lambda shape: (shape[0] * shape[1], abs(shape[0] - shape[1]))):
        sides = _side(height, rows, 6), _side(width, columns, 5)
        if rows * columns == 1 or None in sides or sides in seen:
            continue
        seen.add(sides)
        tile_height, tile_width = sides
        if tile_height is None or tile_width is None:
            continue
        yield Tiling.of(tile_width, tile_height)


def _side(length: int, count: int, parts: int) -> int | None:
    """The smallest side of tiles of which `count` cover the length, overlapping by 1/`parts`; None if too small."""
    if count == 1:
        return length
    exact = length * parts / (count * (parts - 1) + 1)
    side = -(-int(-(-exact // 1)) // SPACE) * SPACE
    while side < length and _count(length, side, parts) > count:
        side += SPACE
    return side if SMALLEST <= side < length and _count(length, side, parts) == count else None


def _count(length: int, side: int, parts: int) -> int:
    overlap = SPACE * round(side / parts / SPACE)
    return -(-(length - side) // (side - overlap)) + 1


def compute(
    vae: VAE, options: TileOptions, clip: tuple[tuple[int, int], Lengths], attempt: Attempt[Result], notices: Notices
) -> Result:
    """Runs the attempt: with the tiles that were told, or that the model has, or else with those that fit.

    clip: height and width of its padded frames, and the lengths of its chunks. Raises what the attempt raises, and
    DeviceMemoryError where nothing fits.
    """
    if vae.form.devices:
        notices.tell([_shared(vae.form, clip[0])])
    if options.tile != "auto" or vae.form.tiling is not None:
        return attempt(vae, _accept)
    return TileChoice(vae.form, *clip, budget()).run(vae, attempt, notices)


def _shared(form: Form, size: tuple[int, int]) -> str:
    """How the devices share frames, or tiles, of that height and width."""
    from cogvae_cli.model.sharding import chips, is_by_clip, shape_of

    tiled = form.tiling
    height, width = size if tiled is None else (min(size[0], tiled.height), min(size[1], tiled.width))
    asked, mesh = len(form.devices), form.mesh(height, width, form.batch)
    if is_by_clip(mesh):
        return f"each of {asked} devices computes {form.batch // asked} of {form.batch} clips"
    least = "" if chips(mesh) == asked else ", the most that divide its latents"
    return f"{chips(mesh)} of {asked} devices share each frame as {shape_of(mesh)} (rows x columns){least}"


def _accept(figures: Mapping[Part, list[Figures]]) -> None:
    """Tiles that were told are taken as they are."""


def budget() -> Budget:
    """All the memory of the device; on CPU the RAM, or what the control group allows.

    Raises UsageError where the device doesn't say.
    """
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return Budget(_host_bytes(), "cpu")
    stats = device.memory_stats() or {}
    if "bytes_limit" not in stats:
        raise UsageError(f"{device.device_kind} doesn't say how much memory it has", "give --tile off, or their size")
    return Budget(int(stats["bytes_limit"]), str(device.platform))


@functools.cache  # a batch asks for each clip
def _host_bytes() -> int:
    import os
    from pathlib import Path

    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)
