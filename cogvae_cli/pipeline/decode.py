"""A latents file into a video, chunk by chunk: memory doesn't grow with length.

One chunk is read ahead, one computes, and the one before it is read back and written meanwhile.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cogvae_cli.errors import LatentsError, UsageError
from cogvae_cli.model.chunks import decode_plan, frames_of
from cogvae_cli.model.config import SPACE
from cogvae_cli.pipeline.clip_result import ClipResult
from cogvae_cli.pipeline.compile_cache import options_for
from cogvae_cli.pipeline.device import Compiling, check_decoded, named_memory_errors, one_ahead
from cogvae_cli.pipeline.frames import crop
from cogvae_cli.pipeline.importing import Family, ImportOptions, open_any
from cogvae_cli.pipeline.models import check_same, obtain, recorded
from cogvae_cli.pipeline.options import RunOptions
from cogvae_cli.pipeline.posterior import Choice, Taker, choose_of_stored
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.results import size_text, tiles_of
from cogvae_cli.pipeline.stages import Prefetch, WriteBehind
from cogvae_cli.pipeline.tile_choice import Check, compute
from cogvae_cli.pipeline.turns import Surroundings, in_turn
from cogvae_cli.pipeline.video_options import VideoOptions

if TYPE_CHECKING:
    from cogvae_cli.io.latents import LatentsReader
    from cogvae_cli.io.latents_header import LatentsHeader
    from cogvae_cli.io.video_writer import FrameWriter
    from cogvae_cli.io.write_options import WriteOptions
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.vae import Caches, DecodedChunk
    from cogvae_cli.pipeline.importing import ImportedLatents


@dataclass(frozen=True)
class DecodeOptions(RunOptions):
    """How latents are decoded, all but the model's name."""

    foreign: ImportOptions = field(default_factory=ImportOptions)
    """About a file of another program."""
    posterior: Literal["mean", "sample"] | None = None
    """What to decode of stored moments: the mean unless given. Values that are stored are taken as they are."""
    seed: int | None = None
    """Of the noise of a sample; 0 unless given."""
    force: bool = False
    """Decode with another model than the one that made the latents."""
    video: VideoOptions = field(default_factory=VideoOptions)
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class DecodeResult(ClipResult):
    """What was decoded, and what it cost."""

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return self.facts("decode")


def decode_file(
    source: str | Path,
    output: str | Path,
    *,
    model: str | VAE | None = None,
    options: DecodeOptions | None = None,
    progress: Progress | None = None,
) -> DecodeResult:
    """Decodes a latents file into a video of the true size, count and rate that the file records.

    A file of another program is read as `options.foreign` and `model` say. `model` is a name, a path or a loaded model;
    None takes the one that the file names. It must be the one that made the latents, unless `options.force`. The output
    appears whole or not at all. Raises LatentsError, ModelError, OutputExistsError, OutputError, UsageError, HubError,
    NonFiniteError and DeviceMemoryError.
    """
    around = Surroundings(progress or Progress())
    return decode_clip(Path(source), Path(output), model=model, options=options or DecodeOptions(), around=around)


def decode_clip(
    source: Path, output: Path, *, model: str | VAE | None, options: DecodeOptions, around: Surroundings
) -> DecodeResult:
    """As `decode_file`, of a clip that may have others beside it."""
    from cogvae_cli.io.destinations import check_video
    from cogvae_cli.io.standard_streams import local

    notices, family = Notices(around.progress), _family(model)
    with (
        local(source) as path,
        open_any(path, family, revision=options.revision, options=options.foreign, notices=notices) as reader,
    ):
        header = reader.header
        write = options.video.options_for(output, header)
        check_video(output, write, frames=header.frames.count, overwrite=options.overwrite, inputs=[source])
        check_header(source, header, reader.length)
        choice = choose_of_stored(header, options.posterior, options.seed)
        vae = _model_for(header, model, options, around.progress)
        files = _Files(source, output, reader, write, options.overwrite, around)
        attempt = functools.partial(_attempt, files, choice, notices)
        size = reader.shape[1] * SPACE, reader.shape[2] * SPACE
        return compute(vae, options.tiles, (size, {"decoder": decode_plan(reader.length)[:2]}), attempt, notices)


@dataclass(frozen=True)
class _Files:
    """Where latents come from, and where frames go and how."""

    source: Path
    output: Path
    reader: LatentsReader | ImportedLatents
    write: WriteOptions
    overwrite: bool
    around: Surroundings


def _attempt(files: _Files, choice: Choice | None, notices: Notices, vae: VAE, check: Check) -> DecodeResult:
    """The whole clip, from its first frame."""
    from cogvae_cli.io.destinations import size_of, video_writer

    start, reader = time.perf_counter(), files.reader
    run = _DecodeRun(vae, reader.header, choice, files.around, notices)
    with video_writer(files.output, files.write, overwrite=files.overwrite, inputs=[files.source]) as writer:
        run.write(reader, writer, check)
    seconds = time.perf_counter() - start
    return run.result(files.source, files.output, reader.shape, size_of(files.output), seconds)


def check_header(source: Path, header: LatentsHeader, length: int) -> None:
    """Raises LatentsError if the latents give fewer frames than the header promises."""
    if frames_of(length) < header.frames.count:
        raise LatentsError(f"{source} records {header.frames.count} frames, but its latents give {frames_of(length)}")


def _family(model: str | VAE | None) -> str | Family | None:
    """What is known of the latents' family by the model to decode with."""
    if model is None or isinstance(model, str):
        return model
    return Family(model.source.name, model.source.revision, model.scaling_factor)


def _model_for(header: LatentsHeader, model: str | VAE | None, options: DecodeOptions, progress: Progress) -> VAE:
    """The model to decode with. Raises LatentsError unless it is the one that made the latents, or forced."""
    revision = options.revision
    if model is None or isinstance(model, str):
        model, revision = named_model(header, model, revision)
    vae = obtain(model, dataclasses.replace(options, revision=revision), progress)
    check_same(vae, header, force=options.force)
    return vae


def named_model(header: LatentsHeader, model: str | None, revision: str | None) -> tuple[str, str | None]:
    """Name and revision of the model to decode with: what was asked for, or the one that the latents name."""
    if model is not None:
        return model, revision
    if revision is not None:
        raise UsageError("a revision was given without a model", "name the model with --model")
    return recorded(header.model), header.model.revision


class _DecodeRun:
    """One clip on its way: the network's caches, and what has been counted so far."""

    def __init__(
        self, vae: VAE, header: LatentsHeader, choice: Choice | None, around: Surroundings, notices: Notices
    ) -> None:
        self._vae = vae
        self._header = header
        self._choice = choice
        self._progress = around.progress
        self._turn = around.turn
        self._notices = notices
        self._caches: Caches = None
        self._compile_seconds = 0.0
        self._factor = np.float32(header.scaling_factor if header.scaled else 1.0)

    def write(self, reader: LatentsReader | ImportedLatents, writer: FrameWriter, check: Check) -> None:
        """Decodes all of `reader` into the video that `writer` writes."""
        size = size_text(self._header.frames.width, self._header.frames.height)
        self._notices.tell(writer.notices)
        damage = self._header.settings.get("damaged")
        if damage is not None:
            self._notices.tell([f"the latents are of the good part of a damaged video: {damage}"])
        lengths = decode_plan(reader.length)[:2]
        padded = reader.shape[1] * SPACE, reader.shape[2] * SPACE

        def prepare(_: np.ndarray) -> None:
            check(self._vae.prepare({"decoder": lengths}, padded, options_for(self._vae.config)))

        compiling = Compiling(self._progress, size, "decoding", prepare)
        self._progress.begin(self._header.frames.count)
        try:
            with named_memory_errors(size), Prefetch(self._latents(reader)) as latents:
                self._decode(latents, writer, compiling)
        finally:
            self._progress.end()
        self._compile_seconds = compiling.seconds

    def _latents(self, reader: LatentsReader | ImportedLatents) -> Iterator[np.ndarray]:
        """Chunks of unscaled latents, [1 t h w C]."""
        taker = None if self._choice is None else Taker(self._choice, self._header.source.sha256)
        for arrays in reader.chunks(decode_plan(reader.length)):
            taken = arrays if taker is None else taker.take(arrays["mean"], arrays["logvar"])
            yield taken["latents"][None] / self._factor

    def _decode(self, latents: Iterable[np.ndarray], writer: FrameWriter, compiling: Compiling) -> None:
        frames = self._header.frames
        done = 0
        with WriteBehind(writer.write) as behind, closing(self._in_turn(latents)) as ours:
            for _, decoded in one_ahead(self._dispatch, ours, compiling):
                keep = min(decoded.frames.shape[1], frames.count - done)
                check_decoded(np.asarray(decoded.finite)[:, :keep], done)
                behind.put(crop(np.asarray(decoded.frames)[0, :keep], frames.height, frames.width))
                done += keep
                self._progress.advance(keep)

    def _in_turn(self, latents: Iterable[np.ndarray]) -> Generator[np.ndarray]:
        yield from in_turn(iter(latents), self._turn)
        self._caches = None  # the next clip has some of its own

    def _dispatch(self, latents: np.ndarray) -> DecodedChunk:
        decoded, self._caches = self._vae.decode_chunk(latents, self._caches)
        return decoded

    def result(
        self, source: Path, output: Path, shape: tuple[int, int, int, int], size: int, seconds: float
    ) -> DecodeResult:
        header = self._header
        return DecodeResult(
            source=source,
            output=output,
            frames=header.frames.count,
            width=header.frames.width,
            height=header.frames.height,
            rate=header.timing.rate,
            variable_rate=header.timing.variable,
            latents_shape=shape,
            scaled=header.scaled,
            posterior=header.posterior if self._choice is None else self._choice.kind,
            seed=header.seed if self._choice is None else self._choice.seed,
            tiles=tiles_of(self._vae, shape[1] * SPACE, shape[2] * SPACE),
            model=self._vae.source,
            compute_dtype=self._vae.decode_dtype,
            notices=self._notices.told,
            output_bytes=size,
            seconds=seconds,
            compile_seconds=self._compile_seconds,
        )
