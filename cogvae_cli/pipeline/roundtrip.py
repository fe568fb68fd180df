"""A video through the encoder and the decoder, measured, and written where asked. Memory doesn't grow with length.

Each chunk of 9 or 8 frames becomes 3 or 2 latent frames, which is just what the decoder takes: nothing leaves the
device between the two but the figures, and the frames if they are kept.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cogvae_cli.errors import UsageError
from cogvae_cli.model.chunks import FIRST_FRAMES, FRAMES, LATENTS, LENGTHS, latents_of, padded
from cogvae_cli.model.config import BUILT_IN, DEFAULT_MODEL, TIME
from cogvae_cli.pipeline.compile_cache import options_for
from cogvae_cli.pipeline.device import (
    Compiling,
    check_decoded,
    check_encoded,
    device_name,
    named_memory_errors,
    one_ahead,
)
from cogvae_cli.pipeline.frames import Chunk, crop, padded_size, prepared
from cogvae_cli.pipeline.models import obtain
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.reading import Readers, fresh_readers, timing_of
from cogvae_cli.pipeline.recording import Pair, Recorded, Recorder
from cogvae_cli.pipeline.report_facts import quality_facts
from cogvae_cli.pipeline.report_files import ReportFiles
from cogvae_cli.pipeline.report_page import write_report
from cogvae_cli.pipeline.results import size_text, tiles_of
from cogvae_cli.pipeline.roundtrip_details import Finished
from cogvae_cli.pipeline.roundtrip_options import RoundtripOptions
from cogvae_cli.pipeline.roundtrip_result import RoundtripResult
from cogvae_cli.pipeline.stages import Prefetch, WriteBehind
from cogvae_cli.pipeline.stopwatch import Stopwatch
from cogvae_cli.pipeline.tile_choice import Check, Lengths, compute

if TYPE_CHECKING:
    import jax

    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.io.video_writer import FrameWriter
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.vae import Caches, DecodedChunk

BUILT_IN_CLIP = "city_cc0_480x272_49f.mp4"


def roundtrip_file(
    source: str | Path | None = None,
    *,
    model: str | VAE | None = None,
    options: RoundtripOptions | None = None,
    progress: Progress | None = None,
) -> RoundtripResult:
    """Encodes a video, decodes what came out, and measures PSNR and SSIM between the two.

    The frames compared are those that the encoder received and those that the decoder gave, 8-bit RGB of the true
    size and count, before any codec. No source: the built-in clip, and then no model: the built-in model. Outputs
    appear whole or not at all. Raises what `encode_file` and `decode_file` raise.
    """
    options, progress = options or RoundtripOptions(), progress or Progress()
    if source is None:
        with built_in_clip() as clip:
            return _roundtrip(clip, model or BUILT_IN, options, progress)
    return _roundtrip(Path(source), model or DEFAULT_MODEL, options, progress)


def report_path(source: str | Path | None) -> Path:
    """Where a report goes if nothing else is said: `<stem>.report.html` in the current folder."""
    name = "stdin" if str(source) == "-" else Path(source or BUILT_IN_CLIP).stem
    return Path(f"{name}.report.html")


@contextmanager
def built_in_clip() -> Iterator[Path]:
    """The clip that is part of the package, as a file."""
    import importlib.resources as resources

    with resources.as_file(resources.files("cogvae_cli") / "assets" / "clips" / BUILT_IN_CLIP) as path:
        yield path


def _roundtrip(source: Path, model: str | VAE, options: RoundtripOptions, progress: Progress) -> RoundtripResult:
    from cogvae_cli.io.standard_streams import local
    from cogvae_cli.io.video_reader import VideoReader

    files = check_outputs(source, options)
    with local(source) as path, VideoReader(path, options.reading) as reader:
        check_kept(reader, options)
        size = padded_size(reader.info.height, reader.info.width)
        watch, notices = Stopwatch(), Notices(progress)
        with watch.stage("loading_model"):
            vae = obtain(model, options, progress)
        attempt = functools.partial(
            _attempt, _Job(source, fresh_readers(path, options.reading, reader), files, watch), options, notices
        )
        return compute(vae, options.tiles, (size, LENGTHS), attempt, notices)


@dataclass(frozen=True)
class _Job:
    """A clip and its report, whatever the tiles."""

    source: Path
    readers: Readers
    files: ReportFiles | None
    watch: Stopwatch


def _attempt(job: _Job, options: RoundtripOptions, notices: Notices, vae: VAE, check: Check) -> RoundtripResult:
    """The whole clip, from its first frame."""
    files = job.files
    with next(job.readers) as reader, ExitStack() as stack:
        recorder = _recorder(reader, options, files, stack)
        run = _Roundtrip(reader.path, vae, reader, notices, job.watch.copy())
        result, recorded = run.run(options, recorder, check)
        result = replace(result, source=job.source)
        if files is not None and recorded is not None:
            notices.progress.phase("writing the report")
            write_report(result.report_dict(), recorded, files, overwrite=options.overwrite, inputs=reader.files)
    return result


def check_outputs(source: Path, options: RoundtripOptions) -> ReportFiles | None:
    """The report's files. Refuses what can't be written or measured, before anything is read."""
    files = None if options.report is None else ReportFiles.of(options.report)
    if files is not None:
        others = () if options.output is None else (options.output,)
        files.check(overwrite=options.overwrite, inputs=[source], others=others)
    if str(options.output) == "-":
        raise UsageError("standard output gets the figures of a round trip", "name a file for the video")
    options.gates.check_possible()
    return files


def _recorder(
    reader: VideoReader, options: RoundtripOptions, files: ReportFiles | None, stack: ExitStack
) -> Recorder | None:
    """What a report, or a bound on VMAF, needs of the frames; None where nothing of the kind is wanted."""
    if files is None and options.gates.vmaf is None:
        return None
    folder = None if files is None else stack.enter_context(files.workshop())
    info = reader.info
    return stack.enter_context(Recorder(info.width, info.height, info.rate or Fraction(25), folder))


def check_kept(reader: VideoReader, options: RoundtripOptions) -> None:
    """Refuses a video that can't be written, before the model is loaded; its times are known only later."""
    from cogvae_cli.io.destinations import check_video

    if options.output is not None:
        info = reader.info
        write = options.video.write_options(options.output, (info.width, info.height), info.rate or Fraction(25))
        frames = reader.expected_frames or 1
        check_video(options.output, write, frames=frames, overwrite=options.overwrite, inputs=reader.files)


@dataclass(frozen=True)
class _Pending:
    """A chunk that the device is busy with."""

    encoded_finite: jax.Array
    latents: jax.Array
    decoded: DecodedChunk
    mse: jax.Array
    ssim: jax.Array | None
    squared: jax.Array | None
    """Errors by pixel, where a report needs them."""


class _Roundtrip:
    """One clip on its way: the networks' caches, and the errors measured so far."""

    def __init__(self, source: Path, vae: VAE, reader: VideoReader, notices: Notices, watch: Stopwatch) -> None:
        from cogvae_cli.report.latent_channels import LatentsMeter
        from cogvae_cli.report.metrics import QualityMeter

        self._source = source
        self._vae = vae
        self._reader = reader
        self._progress = notices.progress
        self._watch = watch
        self._width, self._height = reader.info.width, reader.info.height
        self._encode_caches: Caches = None
        self._decode_caches: Caches = None
        self._meter = QualityMeter()
        self._latents = LatentsMeter(vae.config.latent_channels)
        self._notices = notices
        self._notices.tell(reader.notices)

    def run(
        self, options: RoundtripOptions, recorder: Recorder | None, check: Check
    ) -> tuple[RoundtripResult, Recorded | None]:
        start = time.perf_counter()
        size = size_text(self._width, self._height)
        compiling = Compiling(self._progress, size, "encoding and decoding", functools.partial(self._compile, check))
        self._progress.begin(self._reader.expected_frames)
        try:
            with named_memory_errors(size), self._destination(options) as writer:
                self._stream(writer, recorder, compiling)
            recorded = None if recorder is None else recorder.finish()
        finally:
            self._progress.end()
        self._notices.tell(self._reader.notices)
        seconds = time.perf_counter() - start
        return self._result(options, seconds, compiling.seconds, recorded), recorded

    @contextmanager
    def _destination(self, options: RoundtripOptions) -> Iterator[FrameWriter | None]:
        """The writer of the decoded video, if it is kept; the file is in place when the context ends well."""
        from cogvae_cli.io.destinations import video_writer

        if options.output is None:
            yield None
            return
        # The true times, which a writer needs at once and a reader knows at its end.
        timing = timing_of(self._source, self._progress, options.reading)
        size = (self._width, self._height)
        write = options.video.write_options(options.output, size, timing.rate, timing.times, options.reading.start)
        files = self._reader.files
        with video_writer(options.output, write, overwrite=options.overwrite, inputs=files) as writer:
            self._notices.tell(writer.notices)
            yield writer

    def _stream(self, writer: FrameWriter | None, recorder: Recorder | None, compiling: Compiling) -> None:
        with ExitStack() as stack:
            keep = None if writer is None else stack.enter_context(WriteBehind(writer.write))
            record = None if recorder is None else stack.enter_context(WriteBehind(recorder.add))
            chunks = stack.enter_context(Prefetch(prepared(self._reader.chunks(FIRST_FRAMES, FRAMES))))
            dispatch = self._dispatch if record is None else self._dispatch_recorded
            for chunk, pending in one_ahead(dispatch, self._watch.waiting("waiting_for_frames", chunks), compiling):
                self._measure(chunk, pending)
                with self._watch.stage("handing_over"):
                    self._hand_over(chunk, pending, keep, record)
                self._progress.advance(chunk.count)
        self._watch.add("compiling", compiling.seconds)

    def _compile(self, check: Check, chunk: Chunk) -> None:
        """Compiles what the clip needs in both directions, going by its first chunk."""
        length, height, width = chunk.frames.shape[:3]
        expected = self._reader.expected_frames
        programs = 1 if expected is not None and expected <= length else 2
        lengths: Lengths = {
            "encoder": (length, FRAMES)[:programs],
            "decoder": (latents_of(length), LATENTS)[:programs],
        }
        check(self._vae.prepare(lengths, (height, width), options_for(self._vae.config)))

    def _dispatch(self, chunk: Chunk) -> _Pending:
        from cogvae_cli.report.metrics import frame_errors

        pixels = chunk.frames[None]
        encoded, self._encode_caches = self._vae.encode_chunk(pixels, self._encode_caches)
        decoded, self._decode_caches = self._vae.decode_chunk(encoded.mean, self._decode_caches)
        mse, ssim = frame_errors(pixels, decoded.frames, height=self._height, width=self._width)
        return _Pending(encoded.finite, encoded.mean, decoded, mse, ssim, None)

    def _dispatch_recorded(self, chunk: Chunk) -> _Pending:
        from cogvae_cli.report.metrics import error_by_pixel

        pending = self._dispatch(chunk)
        squared = error_by_pixel(chunk.frames[None], pending.decoded.frames, np.int32(chunk.count))
        return replace(pending, squared=squared)

    def _measure(self, chunk: Chunk, pending: _Pending) -> None:
        """Takes in the errors of the frames that are the video's own."""
        with self._watch.stage("encoding"):
            check_encoded(np.asarray(pending.encoded_finite), chunk)
        with self._watch.stage("decoding"):
            check_decoded(np.asarray(pending.decoded.finite), chunk.first)
        with self._watch.stage("measuring"):
            ssim = None if pending.ssim is None else np.asarray(pending.ssim)[0, : chunk.count]
            self._meter.add(np.asarray(pending.mse)[0, : chunk.count], ssim)

    def _hand_over(
        self, chunk: Chunk, pending: _Pending, keep: WriteBehind[np.ndarray] | None, record: WriteBehind[Pair] | None
    ) -> None:
        """Gives the decoded frames to whoever wants them."""
        if keep is None and record is None:
            return
        result = np.asarray(pending.decoded.frames)[0, : chunk.count]
        if keep is not None:
            keep.put(crop(result, self._height, self._width))
        if record is not None:
            record.put(self._pair(chunk, pending, result))

    def _pair(self, chunk: Chunk, pending: _Pending, result: np.ndarray) -> Pair:
        """What the report takes of a chunk, without the padding."""
        frames = latents_of(chunk.count) if chunk.first == 0 else -(-chunk.count // TIME)
        self._latents.add(np.asarray(pending.latents)[0, :frames])
        original, result = (
            np.ascontiguousarray(crop(frames, self._height, self._width))
            for frames in (chunk.frames[: chunk.count], result)
        )
        mse = np.asarray(pending.mse)[0, : chunk.count]
        return Pair(original, result, mse, np.asarray(pending.squared))

    def _result(
        self, options: RoundtripOptions, seconds: float, compile_seconds: float, recorded: Recorded | None
    ) -> RoundtripResult:
        quality, timing = self._meter.quality(), self._reader.timing
        finished = Finished(self._reader, self._vae, quality)
        perceptual = None if recorded is None else recorded.perceptual
        return RoundtripResult(
            source=self._source,
            output=options.output,
            report=options.report,
            width=self._width,
            height=self._height,
            rate=timing.rate,
            variable_rate=timing.variable,
            padded_frames=padded(quality.frames) - quality.frames,
            latents_shape=finished.latents_shape,
            tiles=tiles_of(self._vae, *finished.padded_size),
            quality=quality,
            perceptual=perceptual,
            verdicts=options.gates.verdicts(quality_facts(quality, perceptual)),
            model=self._vae.source,
            encode_dtype=self._vae.encode_dtype,
            decode_dtype=self._vae.decode_dtype,
            device=device_name(),
            notices=self._notices.told,
            damage=self._reader.damage,
            seconds=seconds,
            compile_seconds=compile_seconds,
            cost=finished.cost(self._watch, seconds),
            details={} if recorded is None else finished.details(options, recorded, self._latents.figures()),
        )
