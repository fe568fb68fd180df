"""What the header of a latents file says, version 1 of the format: docs/latents-format.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from cogvae_cli.model.config import ModelSource

FORMAT = "cogvae-latents"
VERSION = 1

LONGEST = 16 * 2**20
"""Most characters of a header's JSON text: about two million time stamps."""

MEMBERS: Mapping[str, tuple[str, ...]] = {
    "mean": ("latents",),
    "sample": ("latents",),
    "moments": ("mean", "logvar"),
}
"""Arrays that a file holds, by the kind of posterior."""

DTYPES = ("float32", "float16", "bfloat16")
POLICIES = ("pad", "trim", "exact")
LAYOUTS = ("uniform", "reference")


@dataclass(frozen=True)
class FramesHeader:
    """The true frames of the video that comes out, and what was repeated or dropped to encode it."""

    count: int
    height: int
    width: int
    padded_frames: int
    """Copies of the last frame that were encoded after it."""
    padded_bottom: int
    """Copies of the last row that were encoded below it."""
    padded_right: int
    policy: str
    """`pad`, `trim` or `exact`."""
    dropped_frames: int
    """Frames of the source that `trim` left out at the end."""


@dataclass(frozen=True)
class PlanHeader:
    """The encoder's chunks along time: one of `first` frames, then `count - 1` of `rest`."""

    first: int
    rest: int
    count: int


@dataclass(frozen=True)
class TilesHeader:
    """The tiles in space that were encoded apart; lengths in pixels of the padded frame."""

    layout: str
    """`uniform` or `reference`."""
    tile_height: int
    tile_width: int
    overlap_height: int
    overlap_width: int
    rows: int
    columns: int


@dataclass(frozen=True)
class TimingHeader:
    """Frames a second, and every frame's time stamp in seconds where the rate varies (else None)."""

    rate: Fraction
    variable: bool = False
    times: tuple[Fraction, ...] | None = None


@dataclass(frozen=True)
class SourceHeader:
    """What was encoded: a file's name without its folder, its size in bytes, and its sha256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ColourHeader:
    """The source's colour facts, None where it says nothing; `assumed` when a rule decided the matrix."""

    matrix: str | None
    range: str | None
    primaries: str | None
    transfer: str | None
    assumed: bool


@dataclass(frozen=True)
class LatentsHeader:
    """All that a latents file says about its arrays but their shapes and hashes, which the writer adds."""

    dtype: str
    """dtype of storage: `float32`, `float16` or `bfloat16`."""
    posterior: str
    """`mean`, `sample` or `moments`."""
    seed: int | None
    """Of the noise, for `sample` only."""
    scaling_factor: float
    scaled: bool
    """Whether the stored latents were multiplied by the factor. Moments never are."""
    model: ModelSource
    frames: FramesHeader
    plan: PlanHeader
    tiles: TilesHeader | None
    timing: TimingHeader
    source: SourceHeader
    colour: ColourHeader
    versions: Mapping[str, str]
    """Versions of the programs that computed the latents; `cogvae` and `jax` at least."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Options as they were asked for (`tile`: `auto`), where that differs from the plan that was used."""


@dataclass(frozen=True)
class ArrayFacts:
    """Shape [T H W C] of a stored array, and the sha256 of its bytes."""

    shape: tuple[int, int, int, int]
    sha256: str
