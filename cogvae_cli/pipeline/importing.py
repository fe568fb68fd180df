"""Latents of other programs made ready to be decoded or converted, as if they were read from a latents file.

What such a file doesn't say - the model's family, the scale, the frame rate - the user has to, or a notice tells what
was assumed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from cogvae_cli import __version__
from cogvae_cli.errors import LatentsError, UsageError
from cogvae_cli.model.chunks import FRAMES, encode_plan, frames_of
from cogvae_cli.model.config import PRESETS, SPACE, ModelSource
from cogvae_cli.pipeline.progress import Notices

if TYPE_CHECKING:
    from cogvae_cli.io.foreign import ForeignLatents
    from cogvae_cli.io.latents import LatentsReader
    from cogvae_cli.io.latents_header import LatentsHeader

UNKNOWN_IDENTITY = "0" * 64
"""Stands for a model's identity where only its family is known; no file has this sha256."""

IMPORTED = "imported"
"""Setting of the header that names the format which latents were imported from."""

_RATE, _RATE_OF_1_5 = Fraction(8), Fraction(16)
"""Frames a second of the videos that CogVideoX was trained on, and those of 1.5."""


@dataclass(frozen=True)
class ImportOptions:
    """What the user says about a file of another program; None where nothing was said."""

    format: str | None = None
    """`cogvideo`, `finetrainers`, `cogvideox-factory` or `diffusers`."""
    layout: str | None = None
    """Axes of the array, like `BCTHW`."""
    array: str | None = None
    """Which of the file's arrays holds the latents."""
    scaled: bool | None = None
    """Whether the values were multiplied by the model's scaling factor."""
    rate: str | Fraction | None = None
    """Frames a second of the video that comes out."""

    def given(self) -> tuple[str, ...]:
        """Names of the options that were used."""
        return tuple(f"--{name}" for name, value in vars(self).items() if value is not None)


@dataclass(frozen=True)
class Family:
    """What latents of a model are multiplied by, without its weights."""

    name: str
    revision: str | None
    scaling_factor: float

    @property
    def source(self) -> ModelSource:
        """The family as a header names it: which weights exactly is unknown."""
        return ModelSource(self.name, self.revision, UNKNOWN_IDENTITY, ())


@dataclass(frozen=True)
class ImportedLatents:
    """Latents of another program, read as a whole, with the methods of a LatentsReader."""

    header: LatentsHeader
    arrays: dict[str, np.ndarray]
    """float32 [T H W C]"""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is open."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[T H W C] of every array."""
        time, height, width, channels = next(iter(self.arrays.values())).shape
        return time, height, width, channels

    @property
    def length(self) -> int:
        """Latent frames."""
        return self.shape[0]

    def chunks(self, sizes: Iterable[int]) -> Iterator[dict[str, np.ndarray]]:
        """Yields that many latent frames after one another, float32 [t h w C] by name."""
        start = 0
        for size in sizes:
            if size < 1 or start + size > self.length:
                raise ValueError(f"latent frames {start} to {start + size} of {self.length} were asked for")
            yield {name: values[start : start + size] for name, values in self.arrays.items()}
            start += size


def open_any(
    path: Path, model: str | Family | None, *, revision: str | None, options: ImportOptions, notices: Notices
) -> LatentsReader | ImportedLatents:
    """Opens a latents file, or reads the latents of another program; use it as a context manager.

    model: the family of a foreign file that doesn't say it, or the name of its model.
    Raises LatentsError for a file that can't be read as asked, UsageError for options that are missing or don't fit,
    and what finding the model raises.
    """
    from cogvae_cli.io.foreign import is_foreign
    from cogvae_cli.io.latents import open_latents

    if is_foreign(path):
        return read_imported(path, model, revision=revision, options=options, notices=notices)
    if options.given():
        with open_latents(path):
            pass  # if it is no latents file, that is what to say
        raise UsageError(f"{path} is a latents file and says all of that itself", f"leave out {options.given()[0]}")
    return open_latents(path)


def read_imported(
    path: Path, model: str | Family | None, *, revision: str | None, options: ImportOptions, notices: Notices
) -> ImportedLatents:
    """Reads the latents of another program. Raises as open_any does."""
    from cogvae_cli.io.foreign import Hints, read_foreign

    found = read_foreign(path, Hints(options.format, options.layout, options.array))
    if found.header is not None:
        if options.scaled not in (None, found.header.scaled):
            raise UsageError(f"{path} was written by cogvae and says scaled: {found.header.scaled}", "leave it out")
        return ImportedLatents(found.header, found.arrays)
    scaled = _scaled(path, found, options)
    if model is None:
        raise UsageError(
            f"{path} doesn't say which model its latents are of", f"name the family with --model: {', '.join(PRESETS)}"
        )
    family = family_of(model, revision) if isinstance(model, str) else model
    rate = _rate(family, options, notices)
    return ImportedLatents(_header(path, found, family, scaled=scaled, rate=rate), found.arrays)


def family_of(model: str, revision: str | None = None) -> Family:
    """The scaling factor of a model. A preset's is known; of others only the config is read.

    Raises ModelError, HubError and UsageError as finding a model does.
    """
    preset = PRESETS.get(model) or next((one for one in PRESETS.values() if one.repo.lower() == model.lower()), None)
    if preset is not None:
        return Family(preset.name, None, preset.scaling_factor)
    from cogvae_cli.io import hub, weights

    files = hub.find_model(model, revision=revision)
    return Family(files.name, files.revision, weights.read_config(files).scaling_factor)


def check_factor(recorded: LatentsHeader, name: str, factor: float, *, force: bool) -> None:
    """Raises LatentsError if the latents are of a family with another scaling factor, unless `force`."""
    if force or math.isclose(recorded.scaling_factor, factor, rel_tol=1e-6):
        return
    raise LatentsError(
        f"the latents are of {recorded.model.name}, whose scaling factor is {recorded.scaling_factor:g}; "
        f"that of {name} is {factor:g}",
        "name a model of the same family with --model, or take this one all the same with --force",
    )


def _scaled(path: Path, found: ForeignLatents, options: ImportOptions) -> bool:
    from cogvae_cli.io.foreign import form_of

    if "mean" in found.arrays:
        if options.scaled:
            raise UsageError(f"{path} holds moments, which are never scaled", "leave out --scaled")
        return False
    if options.scaled is not None:
        return options.scaled
    form = form_of(found.format)
    if form is None:
        raise UsageError(
            f"{path} doesn't say whether its latents were multiplied by the scaling factor",
            "give --scaled or --unscaled, or the program with --format",
        )
    return form.scaled


def _rate(family: Family, options: ImportOptions, notices: Notices) -> Fraction:
    from cogvae_cli.io.rates import parse_rate

    if options.rate is not None:
        return parse_rate(options.rate)
    rate = _RATE_OF_1_5 if family.name.startswith("cogvideox1.5") else _RATE
    notices.tell([f"the file doesn't say its frame rate; {rate} frames/s is taken, and --rate names another"])
    return rate


def _header(path: Path, found: ForeignLatents, family: Family, *, scaled: bool, rate: Fraction) -> LatentsHeader:
    """What is known about the latents: the video is as long and as large as the decoder makes it."""
    from cogvae_cli.io import latents_header as parts
    from cogvae_cli.io.fingerprint import sha256_of

    time, height, width, _ = next(iter(found.arrays.values())).shape
    plan = encode_plan(frames_of(time))
    moments = "mean" in found.arrays
    return parts.LatentsHeader(
        dtype=found.dtype,
        posterior="moments" if moments else "mean",
        seed=None,
        scaling_factor=family.scaling_factor,
        scaled=scaled,
        model=family.source,
        frames=parts.FramesHeader(frames_of(time), height * SPACE, width * SPACE, 0, 0, 0, "exact", 0),
        plan=parts.PlanHeader(plan[0], FRAMES, len(plan)),
        tiles=None,
        timing=parts.TimingHeader(rate),
        source=parts.SourceHeader(path.name, path.stat().st_size, sha256_of(path)),
        colour=parts.ColourHeader(None, None, None, None, True),
        versions={"cogvae": __version__, "jax": "unknown"},
        settings={IMPORTED: found.format or found.layout} | ({} if moments else {"posterior": "unknown"}),
    )
