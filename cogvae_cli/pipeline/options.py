"""Options that several jobs take."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cogvae_cli.errors import UsageError
from cogvae_cli.model.config import TileLayout

if TYPE_CHECKING:
    from cogvae_cli.model.tiling import Tiling

Dtype = Literal["float32", "bfloat16", "float16"]

PosteriorKind = Literal["mean", "sample", "moments"]
"""What of the latents' distribution is stored: its mean, a sample of it, or mean and log-variance."""

FramesPolicy = Literal["pad", "trim", "exact"]
"""What is done with a number of frames that is no 8k+1: see `pipeline.frames.prepared`."""


def parse_size(text: str) -> tuple[int, int]:
    """`480x272` to (480, 272): width, height in pixels. Raises UsageError for anything else."""
    match = re.fullmatch(r"([1-9]\d{0,5})[xX]([1-9]\d{0,5})", text)
    if match is None:
        raise UsageError(f"{text!r} is no size", "give WIDTHxHEIGHT in pixels, say 480x272")
    return int(match[1]), int(match[2])


def parse_sizes(text: str | None) -> tuple[tuple[int, int], ...]:
    """`720x480,480x720` to sizes; none of None. Raises UsageError."""
    return tuple(parse_size(one) for one in text.split(",")) if text else ()


def parse_devices(text: str) -> int | Literal["all"]:
    """`all`, or a number from 1. Raises UsageError for anything else."""
    if text == "all":
        return "all"
    if not re.fullmatch(r"[1-9]\d{0,4}", text):
        raise UsageError(f"{text!r} is no number of devices", "give a number from 1, or all")
    return int(text)


@dataclass(frozen=True)
class TileOptions:
    """The tiles that frames are computed in."""

    tile: str = "auto"
    """`auto`: whole frames if they fit the device's memory, else the fewest tiles. `off`, or a tile's WIDTHxHEIGHT."""
    overlap: str | None = None
    """How far neighbours overlap, WIDTHxHEIGHT in pixels; by default a fifth of the width and a sixth of the height."""
    layout: TileLayout | None = None
    """`uniform`, unless given: equal tiles that add up by smooth weights. `reference`: upstream's grid and blending."""

    def as_settings(self) -> dict[str, str]:
        """What was asked for, as a latents file's header records it."""
        if self.tile == "auto":
            return {"tile": "auto"}
        asked = {"tile": self.tile, "tile_overlap": self.overlap, "tile_layout": self.layout or "uniform"}
        return {} if self.tile == "off" else {name: value for name, value in asked.items() if value is not None}

    def tiling(self) -> Tiling | None:
        """The geometry asked for; None for whole frames and `auto`. Raises UsageError for one of wrong sizes."""
        from cogvae_cli.model.tiling import Tiling

        if self.tile in ("off", "auto"):
            for name, value in (("overlap", self.overlap), ("layout", self.layout)):
                if value is not None:
                    hint = "give their size with --tile, say --tile 360x240"
                    raise UsageError(f"the {name} {value} of tiles was given, but no tiles", hint)
            return None
        layout = self.layout or "uniform"
        width, height = parse_size(self.tile)
        if self.overlap is None:
            return Tiling.of(width, height, layout)
        across, down = _parse_overlap(self.overlap)
        return Tiling(height, width, down, across, layout)


def _parse_overlap(text: str) -> tuple[int, int]:
    """As a size, but 0 is one: tiles that only touch."""
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", text)
    if match is None:
        raise UsageError(f"{text!r} is no overlap", "give WIDTHxHEIGHT in pixels, say 72x40")
    return int(match[1]), int(match[2])


@dataclass(frozen=True)
class RunOptions:
    """How a model is found and run, all but its name; what every job has."""

    revision: str | None = None
    """Commit, tag or branch on the Hub, for a model that is named."""
    dtype: Dtype | None = None
    """dtype to compute in. Encoding: float32. Decoding: bfloat16 on TPU and GPU, float32 on CPU."""
    tiles: TileOptions = field(default_factory=TileOptions)
    devices: int | Literal["all"] = 1
    """Chips of this host that compute each frame together; fewer where they don't divide its rows."""
