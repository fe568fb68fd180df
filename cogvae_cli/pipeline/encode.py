"""A video into a latents file, chunk by chunk: memory doesn't grow with length.

One chunk is read ahead, one computes, and the one before it is read back and stored meanwhile.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cogvae_cli import __version__
from cogvae_cli.errors import UsageError
from cogvae_cli.model.chunks import FRAMES, LENGTHS, latents_of, padded
from cogvae_cli.model.config import DEFAULT_MODEL, SPACE
from cogvae_cli.pipeline.compile_cache import options_for
from cogvae_cli.pipeline.device import Compiling, check_encoded, named_memory_errors, one_ahead
from cogvae_cli.pipeline.encode_options import KINDS as KINDS
from cogvae_cli.pipeline.encode_options import EncodeOptions as EncodeOptions
from cogvae_cli.pipeline.encode_options import kind_of as kind_of
from cogvae_cli.pipeline.encode_result import EncodeResult
from cogvae_cli.pipeline.frames import Chunk, first_length, padded_size, padding, prepared
from cogvae_cli.pipeline.models import obtain
from cogvae_cli.pipeline.posterior import Choice, Taker
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.reading import Readers, centred, fresh_readers, reopened, timing_of
from cogvae_cli.pipeline.results import size_text, tiles_of
from cogvae_cli.pipeline.stages import Prefetch, WriteBehind
from cogvae_cli.pipeline.tile_choice import Check, compute
from cogvae_cli.pipeline.turns import Surroundings, in_turn

if TYPE_CHECKING:
    from cogvae_cli.io.latents import LatentsWriter
    from cogvae_cli.io.latents_header import LatentsHeader, TimingHeader
    from cogvae_cli.io.timing import Timing
    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.io.windows import Cut
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.vae import Caches, EncodedChunk
    from cogvae_cli.pipeline.together import Member


def encode_file(
    source: str | Path,
    output: str | Path,
    *,
    model: str | VAE = DEFAULT_MODEL,
    options: EncodeOptions | None = None,
    progress: Progress | None = None,
) -> EncodeResult:
    """Encodes a video into a latents file, `.npz` or `.safetensors` by its suffix.

    A video is a file, a folder of pictures, numbered pictures named as `frame%04d.png`, or `-` for standard input;
    the output `-` is standard output.
    `model` is a name, a path or a loaded model. The output appears whole or not at all.
    Raises VideoError, ModelError, OutputExistsError, OutputError, UsageError, HubError, NonFiniteError and
    DeviceMemoryError.
    """
    around = Surroundings(progress or Progress())
    return encode_clip(Path(source), Path(output), model=model, options=options or EncodeOptions(), around=around)


def encode_clip(
    source: Path, output: Path, *, model: str | VAE, options: EncodeOptions, around: Surroundings
) -> EncodeResult:
    """As `encode_file`, of a clip that may have others beside it."""
    from cogvae_cli.io.destinations import check_file
    from cogvae_cli.io.picture_sequence import files_of
    from cogvae_cli.io.standard_streams import local
    from cogvae_cli.io.video_reader import VideoReader

    if options.program is not None:
        raise UsageError(
            f"--format {options.program} is for many clips", "give --out-dir DIR; of one file cogvae convert makes it"
        )
    kind = kind_of(output, options.container)
    choice, inputs = options.choice(), files_of(source)
    if options.cuts:
        raise UsageError(f"--window {options.reading.window} makes several clips of a video", "give --out-dir DIR")
    check_file(output, overwrite=options.overwrite, inputs=inputs)
    job = _Job(source, output, kind, choice, options, around)
    with local(source) as path:
        reading = centred(path, options.reading, around.progress)
        with VideoReader(path, reading) as reader:
            return _encode(job, model, reader, fresh_readers(path, reading, reader))


@dataclass(frozen=True)
class Cutting:
    """Where the windows of a video go, and which of them."""

    output_of: Callable[[int], Path]
    """The file for the window that starts with that frame."""
    first: int = 0
    """Those that start before this frame are left out."""


def encode_windows(
    source: Path, cutting: Cutting, *, model: VAE, options: EncodeOptions, around: Surroundings
) -> Iterator[tuple[EncodeResult, Cut, bool]]:
    """Encodes the windows of a video. Gives each result, its window, and whether it is the last.

    Raises as `encode_file`.
    """
    from cogvae_cli.io.fingerprint import sha256_of
    from cogvae_cli.io.windows import Windows

    with Windows(source, options.reading, cutting.first) as windows:
        sha256, cuts = sha256_of(*windows.files), iter(windows)
        cut = next(cuts, None)
        while cut is not None:
            output = cutting.output_of(cut.start)
            job = _Job(source, output, kind_of(output, options.container), options.choice(), options, around, sha256)
            with cut.open() as reader:
                result = _encode(job, model, reader, reopened(cut, reader))
            following = next(cuts, None)
            if following is None and windows.damage is not None:
                result = replace(result, damage=windows.damage)
            yield result, cut, following is None
            cut = following


def _encode(job: _Job, model: str | VAE, reader: VideoReader, readers: Readers) -> EncodeResult:
    options, around = job.options, job.around
    size = padded_size(reader.info.height, reader.info.width)
    vae, notices = obtain(model, options, around.progress), Notices(around.progress)
    attempt = functools.partial(_attempt, job, readers, notices)
    return compute(vae, options.tiles, (size, {"encoder": LENGTHS["encoder"]}), attempt, notices)


@dataclass(frozen=True)
class _Job:
    """What is to be done, whatever the tiles."""

    source: Path
    output: Path
    kind: str
    choice: Choice
    options: EncodeOptions
    around: Surroundings
    sha256: str | None = None
    """Of the source, where it is known."""


def _attempt(job: _Job, readers: Readers, notices: Notices, vae: VAE, check: Check) -> EncodeResult:
    """The whole clip, from its first frame."""
    from cogvae_cli.io.destinations import whole_file

    start, overwrite = time.perf_counter(), job.options.overwrite
    with next(readers) as reader:
        run = _EncodeRun(vae, reader, job, notices)
        lasting = job.around.lasting
        with whole_file(job.output, overwrite=overwrite, inputs=reader.files, lasting=lasting) as part:
            header = run.store(part, job.kind, job.choice, check)
            stored = part.stat().st_size
        return run.result(job.source, job.output, header, stored, time.perf_counter() - start)


class _EncodeRun:
    """One clip on its way: the network's caches, and what has been counted so far."""

    def __init__(self, vae: VAE, reader: VideoReader, job: _Job, notices: Notices) -> None:
        self._vae = vae
        self._reader = reader
        self._options = options = job.options
        self._progress = job.around.progress
        self._turn, self._together = job.around.turn, job.around.together
        self._member: Member | None = None
        self._waited = 0.0
        self._notices = notices
        self._sha256 = job.sha256
        self._caches: Caches = None
        self._compile_seconds = 0.0
        self._factor = np.float32(vae.scaling_factor if options.scaled else 1.0)

    def store(self, part: Path, kind: str, choice: Choice, check: Check) -> LatentsHeader:
        """Encodes all of the video into the container `part`; returns its header."""
        from cogvae_cli.io.fingerprint import sha256_of
        from cogvae_cli.io.latents import LatentsWriter
        from cogvae_cli.io.latents_header import MEMBERS

        info, options = self._reader.info, self._options
        size = size_text(info.width, info.height)
        self._notices.tell(self._reader.notices)
        first = self._first_length()
        sha256 = self._sha256 or sha256_of(*self._reader.files)
        taker = Taker(choice, sha256)
        compiling = Compiling(self._progress, size, "encoding", functools.partial(self._compile, check))
        self._progress.begin(self._reader.expected_frames)
        try:
            with (
                named_memory_errors(size),
                LatentsWriter(part, kind, options.store_dtype, MEMBERS[choice.kind]) as writer,
            ):
                with Prefetch(prepared(self._reader.chunks(first, FRAMES), options.frames_policy)) as chunks:
                    frames = self._encode(chunks, writer, taker, compiling)
                header = self._header(frames, first, sha256, choice)
                writer.finish(header)
        finally:
            self._progress.end()
        self._compile_seconds = compiling.seconds
        self._notices.tell(self._reader.notices)
        if header.frames.dropped_frames:
            self._notices.tell([f"the last {header.frames.dropped_frames} frames are left out, as trim does"])
        return header

    def _first_length(self) -> int:
        """Frames of the first chunk; they are counted before where the policy needs that."""
        policy = self._options.frames_policy
        if policy != "exact":
            return first_length(policy, None)
        if self._options.cuts:  # the reader has one window, and knows
            return first_length(policy, self._reader.expected_frames)
        return first_length(policy, timing_of(self._reader.path, self._progress, self._options.reading).frames)

    def _encode(self, chunks: Iterable[Chunk], writer: LatentsWriter, taker: Taker, compiling: Compiling) -> int:
        """Returns the number of frames."""
        frames = 0
        with WriteBehind(writer.append) as behind, closing(self._in_turn(chunks)) as ours:
            for chunk, encoded in one_ahead(self._dispatch, ours, compiling):
                check_encoded(np.asarray(encoded.finite), chunk)
                taken = taker.take(encoded.mean[0], encoded.logvar[0])
                behind.put({name: values * self._factor for name, values in taken.items()})
                frames += chunk.count
                self._progress.advance(chunk.count)
        return frames

    def _compile(self, check: Check, chunk: Chunk) -> None:
        """Compiles what the clip needs, going by its first chunk."""
        length, height, width = chunk.frames.shape[:3]
        expected = self._reader.expected_frames
        lengths = (length,) if expected is not None and expected <= length else (length, FRAMES)
        check(self._vae.prepare({"encoder": lengths}, (height, width), options_for(self._vae.config)))

    def _in_turn(self, chunks: Iterable[Chunk]) -> Generator[Chunk]:
        ours = iter(chunks)
        if self._together is None:
            yield from in_turn(ours, self._turn)
            self._caches = None  # the next clip has some of its own
            return
        for first in ours:
            with self._together.join(self._vae, first.frames.shape, self._progress) as self._member:
                self._waited = self._member.waited
                yield first
                yield from ours

    def _dispatch(self, chunk: Chunk) -> EncodedChunk:
        if self._member is not None:
            return self._member.encode(chunk.frames)
        encoded, self._caches = self._vae.encode_chunk(chunk.frames[None], self._caches)
        return encoded

    def _header(self, frames: int, first: int, sha256: str, choice: Choice) -> LatentsHeader:
        import jax

        from cogvae_cli.io import latents_header as parts

        info, timing, options = self._reader.info, self._reader.timing, self._options
        colour = info.colour
        encoded = padded(frames) if options.frames_policy == "pad" else frames
        bottom, right = padding(info.height), padding(info.width)
        first = min(encoded, first)
        return parts.LatentsHeader(
            dtype=options.store_dtype,
            posterior=choice.kind,
            seed=choice.seed,
            scaling_factor=self._vae.scaling_factor,
            scaled=options.scaled,
            model=self._vae.source,
            frames=parts.FramesHeader(
                frames,
                info.height,
                info.width,
                encoded - frames,
                bottom,
                right,
                options.frames_policy,
                timing.frames - frames,
            ),
            plan=parts.PlanHeader(first, FRAMES, 1 + (encoded - first) // FRAMES),
            tiles=tiles_of(self._vae, info.height + bottom, info.width + right),
            timing=_timing_header(timing, frames),
            source=parts.SourceHeader(info.name, info.bytes, sha256),
            colour=parts.ColourHeader(colour.matrix, colour.range, colour.primaries, colour.transfer, colour.assumed),
            versions={"cogvae": __version__, "jax": jax.__version__},
            settings={"dtype": self._vae.encode_dtype} | options.tiles.as_settings() | self._reader.record(),
        )

    def result(self, source: Path, output: Path, header: LatentsHeader, size: int, seconds: float) -> EncodeResult:
        frames = header.frames
        height, width = frames.height + frames.padded_bottom, frames.width + frames.padded_right
        encoded = frames.count + frames.padded_frames
        return EncodeResult(
            source=source,
            output=output,
            frames=frames.count,
            padded_frames=frames.padded_frames,
            dropped_frames=frames.dropped_frames,
            frames_policy=frames.policy,
            width=frames.width,
            height=frames.height,
            rate=header.timing.rate,
            variable_rate=header.timing.variable,
            latents_shape=(latents_of(encoded), height // SPACE, width // SPACE, self._vae.config.latent_channels),
            store_dtype=header.dtype,
            scaled=header.scaled,
            scaling_factor=header.scaling_factor,
            posterior=header.posterior,
            seed=header.seed,
            tiles=header.tiles,
            model=header.model,
            compute_dtype=self._vae.encode_dtype,
            notices=self._notices.told,
            source_sha256=header.source.sha256,
            damage=self._reader.damage,
            output_bytes=size,
            seconds=seconds - self._waited,
            compile_seconds=self._compile_seconds,
        )


def _timing_header(timing: Timing, frames: int) -> TimingHeader:
    """The times of the frames that were encoded, which are the first ones."""
    from cogvae_cli.io.latents_header import TimingHeader

    times = None if timing.times is None else timing.times[:frames]
    return TimingHeader(timing.rate, timing.variable, times)
