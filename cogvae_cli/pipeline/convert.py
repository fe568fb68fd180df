"""Latents from one kind of file to another, and from moments to a sample or the mean.

At least one side is a latents file of cogvae; the options that describe a file are about the other side.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cogvae_cli.model.chunks import frames_of
from cogvae_cli.model.config import BUILT_IN, SPACE, ModelSource
from cogvae_cli.pipeline.convert_plan import ConvertOptions, Plan, Target, own_target, plan_of, target_of
from cogvae_cli.pipeline.importing import ImportOptions, family_of, open_any
from cogvae_cli.pipeline.models import TINY_NOTICE
from cogvae_cli.pipeline.posterior import Taker
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.results import SCHEMA_VERSION, model_facts, size_text

if TYPE_CHECKING:
    from cogvae_cli.io.latents import LatentsReader
    from cogvae_cli.pipeline.importing import ImportedLatents

_ROWS = 8  # latent frames that are converted at a time
_CERTAIN = -30.0  # the smallest logvar that counts: a sample is off the mean by 3e-7 times a normal number


@dataclass(frozen=True)
class ConvertResult:
    """What was converted into what."""

    source: Path
    output: Path
    output_kind: str
    """`npz` or `safetensors` of cogvae, or the format or layout that was written."""
    latents_shape: tuple[int, int, int, int]
    """[T H W C]"""
    dtype: str
    posterior: str
    seed: int | None
    scaled: bool
    scaling_factor: float
    model: ModelSource
    notices: tuple[str, ...]
    output_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "convert",
            "source": str(self.source),
            "output": str(self.output),
            "output_bytes": self.output_bytes,
            "output_kind": self.output_kind,
            "latents": {
                "shape": list(self.latents_shape),
                "dtype": self.dtype,
                "posterior": self.posterior,
                "seed": self.seed,
                "scaled": self.scaled,
                "scaling_factor": self.scaling_factor,
            },
            "model": model_facts(self.model),
            "notices": list(self.notices),
        }


def convert_file(
    source: str | Path,
    output: str | Path,
    *,
    model: str | None = None,
    options: ConvertOptions | None = None,
    progress: Progress | None = None,
) -> ConvertResult:
    """Converts latents. The output's suffix and the options say what is written; it appears whole or not at all.

    `model` names the family of latents whose file doesn't; where the file does, it must have the same scaling factor,
    unless `options.force`. Raises LatentsError, UsageError, OutputExistsError, OutputError, NonFiniteError, and what
    finding a model raises.
    """
    from cogvae_cli.io.outputs import atomic_output

    source, output = Path(source), Path(output)
    options, progress = options or ConvertOptions(), progress or Progress()
    notices = Notices(progress)
    with planned(source, output, model=model, options=options, notices=notices) as (reader, plan, target):
        run = _Conversion(reader, plan, target)
        with atomic_output(output, overwrite=options.overwrite, inputs=[source]) as part:
            run.write(part)
    return run.result(source, output, notices.told)


@contextmanager
def planned(
    source: Path, output: Path, *, model: str | None, options: ConvertOptions, notices: Notices
) -> Iterator[tuple[LatentsReader | ImportedLatents, Plan, Target]]:
    """The open file, what becomes of it, and where: all that is known before anything is written.

    Raises as `convert_file` does.
    """
    from cogvae_cli.io.foreign import is_foreign
    from cogvae_cli.io.outputs import check_output

    check_output(output, overwrite=options.overwrite, inputs=[source])
    reads_foreign = is_foreign(source)
    target = own_target(output) if reads_foreign else None
    about = options.foreign if reads_foreign else ImportOptions()
    with open_any(source, model, revision=options.revision, options=about, notices=notices) as reader:
        target = target or target_of(output, options)  # if the file is no latents, that comes first
        family = None if model is None else family_of(model, options.revision)
        plan = plan_of(reader.header, family, target, options)
        notices.tell(_Conversion(reader, plan, target).notices())
        yield reader, plan, target


class _Conversion:
    """One file's way, chunk by chunk; a foreign output is gathered as a whole, for time isn't its first axis."""

    def __init__(self, reader: LatentsReader | ImportedLatents, plan: Plan, target: Target) -> None:
        self._reader, self._plan, self._target = reader, plan, target
        self._before = reader.header

    def write(self, part: Path) -> None:
        """Writes all of it to `part`."""
        from cogvae_cli.io.foreign import write_foreign
        from cogvae_cli.io.latents import LatentsWriter
        from cogvae_cli.io.latents_header import MEMBERS

        header, form = self._plan.header, self._plan.form
        members = MEMBERS[header.posterior]
        if form is None:
            with LatentsWriter(part, self._target.container, header.dtype, members) as writer:
                for arrays in self._converted():
                    writer.append(arrays)
                writer.finish(header)
            return
        chunks = list(self._converted())
        whole = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in members}
        write_foreign(part, self._target.container, form, whole, header)

    def notices(self) -> list[str]:
        """What the user should know before it is done."""
        plan, frames, told = self._plan, self._plan.header.frames, []
        if self._plan.draw is not None and self._plan.draw.kind == "mean":
            told.append("of the moments, the mean is taken; --posterior sample draws a sample")
        if plan.certain:
            told.append(f"{self._target.format} wants moments; the variance is written as next to nothing ({_CERTAIN})")
        if plan.header.dtype != self._before.dtype:
            told.append(f"the latents are stored as {plan.header.dtype}; they were {self._before.dtype}")
        length = frames_of(self._reader.length)
        if plan.form is not None and (length, 0, 0) != (frames.count, frames.padded_bottom, frames.padded_right):
            height, width = (side * SPACE for side in self._reader.shape[1:3])
            told.append(
                f"other programs decode these latents to {length} frames of {size_text(width, height)}, with the "
                f"padding; the video had {frames.count} of {size_text(frames.width, frames.height)}"
            )
        if plan.form is not None and plan.header.model.name == BUILT_IN:
            told.append(TINY_NOTICE)
        return told

    def result(self, source: Path, output: Path, notices: tuple[str, ...]) -> ConvertResult:
        header, target = self._plan.header, self._target
        return ConvertResult(
            source=source,
            output=output,
            output_kind=target.format or (target.container if target.own else f"{target.container} {target.layout}"),
            latents_shape=self._reader.shape,
            dtype=header.dtype,
            posterior=header.posterior,
            seed=header.seed,
            scaled=header.scaled,
            scaling_factor=header.scaling_factor,
            model=header.model,
            notices=notices,
            output_bytes=output.stat().st_size,
        )

    def _converted(self) -> Iterator[dict[str, np.ndarray]]:
        """Chunks as they are stored, float32 [t h w C] by the members of the result."""
        length, choice = self._reader.length, self._plan.draw
        taker = None if choice is None else Taker(choice, self._before.source.sha256)
        for arrays in self._reader.chunks(min(_ROWS, length - first) for first in range(0, length, _ROWS)):
            taken = arrays if taker is None else taker.take(arrays["mean"], arrays["logvar"])
            if "latents" not in taken:
                yield taken
                continue
            values = self._scaled(taken["latents"])
            if self._plan.certain:
                yield {"mean": values, "logvar": np.full_like(values, _CERTAIN)}
            else:
                yield {"latents": values}

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        """The values at the scale of the result; untouched, to the bit, where that is their own."""
        before, after = self._before, self._plan.header
        if before.scaled == after.scaled and (not after.scaled or before.scaling_factor == after.scaling_factor):
            return values
        unscaled = values / np.float32(before.scaling_factor) if before.scaled else values
        return unscaled * np.float32(after.scaling_factor) if after.scaled else unscaled
