"""What a conversion makes: which file, and what becomes of scale, dtype and moments. No value is touched here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cogvae_cli.errors import UsageError
from cogvae_cli.pipeline.encode import KINDS
from cogvae_cli.pipeline.importing import Family, ImportOptions, check_factor
from cogvae_cli.pipeline.options import Dtype
from cogvae_cli.pipeline.posterior import Choice, choose_of_stored

if TYPE_CHECKING:
    from cogvae_cli.io.foreign_layout import Form
    from cogvae_cli.io.latents_header import LatentsHeader

_SUFFIXES = {".pt": "pt", ".pth": "pt", ".npy": "npy", **KINDS}


@dataclass(frozen=True)
class ConvertOptions:
    """How latents are converted, all but the model's name."""

    foreign: ImportOptions = field(default_factory=ImportOptions)
    """About the side that is no latents file of cogvae."""
    revision: str | None = None
    """Commit, tag or branch on the Hub, for a model that is named."""
    posterior: Literal["mean", "sample"] | None = None
    """What to make of moments; None leaves them."""
    seed: int | None = None
    """Of the noise, for `sample`; 0 unless given."""
    dtype: Dtype | None = None
    """dtype of storage; None leaves it."""
    force: bool = False
    """Take the latents as those of the named model, though its scaling factor is another."""
    overwrite: bool = False


@dataclass(frozen=True)
class Target:
    """What is written: one of cogvae's own containers, or a foreign file of that format or layout."""

    container: str
    format: str | None = None
    layout: str | None = None
    array: str | None = None
    scaled: bool | None = None
    """What the user asked for."""

    @property
    def own(self) -> bool:
        """Whether it is a latents file."""
        return self.format is None and self.layout is None


def own_target(output: Path) -> Target:
    """A latents file, for the options describe the foreign file that is read."""
    if output.suffix.lower() not in KINDS:
        raise UsageError(
            f"{output}: latents of another program are converted into {' or '.join(KINDS)} only",
            "convert that into another program's form then",
        )
    return Target(KINDS[output.suffix.lower()])


def target_of(output: Path, options: ConvertOptions) -> Target:
    """What to make of a latents file. Raises UsageError where suffix and options don't fit together."""
    about, suffix = options.foreign, output.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(f"{output} ends in none of {', '.join(_SUFFIXES)}", "the suffix says what is written")
    target = Target(_SUFFIXES[suffix], about.format, about.layout, about.array, about.scaled)
    if about.rate is not None:
        raise UsageError("--rate is for files that don't say it", "leave out --rate")
    if about.format is not None and about.layout is not None:
        raise UsageError(f"--format {about.format} has its own layout", "leave out --layout")
    if target.own and target.container not in KINDS.values():
        raise UsageError(
            f"{output} needs a {'format' if target.container == 'pt' else 'layout'}",
            "say which with --format, or name the axes with --layout, say BCTHW",
        )
    if target.own and about.array is not None:
        raise UsageError("--array is for files of other programs", "leave out --array")
    if (about.format is not None and target.container != "pt") or (about.layout is not None and suffix == ".npz"):
        raise UsageError(f"{output} can't have that form", "--format is for .pt; --layout for .pt, .npy, .safetensors")
    return target


@dataclass(frozen=True)
class Plan:
    """What becomes of the values, and the header that is true of the result."""

    header: LatentsHeader
    draw: Choice | None
    """`mean` or `sample` to make values of moments; None takes what is there."""
    certain: bool
    """Whether values are stored as moments without variance, for a program that draws its own samples."""
    form: Form | None
    """How a foreign file stores them; None for a latents file."""


def plan_of(header: LatentsHeader, family: Family | None, target: Target, options: ConvertOptions) -> Plan:
    """Raises LatentsError where the file hasn't what is asked for, UsageError for options that don't agree."""
    from cogvae_cli.io.foreign import form_of

    header = _renamed(header, family, force=options.force)
    form = form_of(target.format)
    draw = _draw(header, form, options)
    posterior = header.posterior if draw is None else draw.kind
    certain = form is not None and form.moments and posterior != "moments"
    if certain or posterior == "moments":
        if target.scaled:
            raise UsageError("moments are never scaled", "leave out --scaled, or take --posterior mean or sample")
        scaled, posterior = False, "moments"
    else:
        wanted = target.scaled if target.scaled is not None or form is None else form.scaled
        scaled = header.scaled if wanted is None else wanted
    seed = header.seed if draw is None else draw.seed
    if target.layout is not None:
        form = _form(target, moments=posterior == "moments", scaled=scaled)
    dtype = _dtype(header, target, options)
    result = dataclasses.replace(header, dtype=dtype, posterior=posterior, seed=seed, scaled=scaled)
    return Plan(result, draw, certain, form)


def _renamed(header: LatentsHeader, family: Family | None, *, force: bool) -> LatentsHeader:
    """The header, naming the family that the user forces. Raises LatentsError for one that doesn't fit unforced."""
    if family is None:
        return header
    check_factor(header, family.name, family.scaling_factor, force=force)
    if family.scaling_factor == header.scaling_factor:
        return header
    return dataclasses.replace(header, scaling_factor=family.scaling_factor, model=family.source)


def _draw(header: LatentsHeader, form: Form | None, options: ConvertOptions) -> Choice | None:
    """What is made of moments; None leaves them, or values, as they are."""
    unsaid = options.posterior is None and options.seed is None
    if header.posterior == "moments" and unsaid and (form is None or form.moments):
        return None
    return choose_of_stored(header, options.posterior, options.seed)


def _form(target: Target, *, moments: bool, scaled: bool) -> Form:
    from cogvae_cli.io.foreign_layout import Form, axes_of

    return Form(axes_of(target.layout or ""), moments, scaled, target.array)


def _dtype(header: LatentsHeader, target: Target, options: ConvertOptions) -> str:
    """The dtype of storage. A .npy has no bfloat16; a float32 holds all of its values."""
    if target.container != "npy" or (options.dtype or header.dtype) != "bfloat16":
        return options.dtype or header.dtype
    if options.dtype is not None:
        raise UsageError(".npy knows no bfloat16", "take --dtype float32 or float16")
    return "float32"
