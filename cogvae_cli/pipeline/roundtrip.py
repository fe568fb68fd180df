"""A video through the encoder and the decoder, measured, and written where asked. Memory doesn't grow with length.

Each chunk of 9 or 8 frames becomes 3 or 2 latent frames, which is just what the decoder takes: nothing leaves the
device between the two but the figures, and the frames if they are kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cogvae_cli.errors import UsageError
from cogvae_cli.model.chunks import FIRST_FRAMES, FRAMES, latents_of, padded
from cogvae_cli.model.config import BUILT_IN, DEFAULT_MODEL, SPACE
from cogvae_cli.pipeline.device import (
    Compiling,
    check_decoded,
    check_encoded,
    device_name,
    named_memory_errors,
    one_ahead,
)
from cogvae_cli.pipeline.frames import Chunk, crop, padding, prepared
from cogvae_cli.pipeline.models import obtain
from cogvae_cli.pipeline.options import RunOptions
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.reading import timing_of
from cogvae_cli.pipeline.results import size_text, tiles_of
from cogvae_cli.pipeline.roundtrip_result import RoundtripResult
from cogvae_cli.pipeline.stages import Prefetch, WriteBehind
from cogvae_cli.pipeline.video_options import ReadOptions, VideoOptions

if TYPE_CHECKING:
    import jax

    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.io.video_writer import FrameWriter
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.vae import Caches, DecodedChunk

BUILT_IN_CLIP = "city_cc0_480x272_49f.mp4"


@dataclass(frozen=True)
class RoundtripOptions(RunOptions):
    """How a round trip runs and what it leaves behind."""

    output: Path | None = None
    """Where the decoded video goes, if anywhere."""
    report: Path | None = None
    """Where the report goes, if anywhere: a .json file."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """Which part of the video is read, and how."""
    video: VideoOptions = field(default_factory=VideoOptions)
    overwrite: bool = False

    def outputs(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.output, self.report) if path is not None)


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
        with _built_in_clip() as clip:
            return _roundtrip(clip, model or BUILT_IN, options, progress)
    return _roundtrip(Path(source), model or DEFAULT_MODEL, options, progress)


def report_path(source: str | Path | None) -> Path:
    """Where a report goes if nothing else is said: `<stem>.report.json` in the current folder."""
    return Path(f"{Path(source or BUILT_IN_CLIP).stem}.report.json")


@contextmanager
def _built_in_clip() -> Iterator[Path]:
    import importlib.resources as resources

    with resources.as_file(resources.files("cogvae_cli") / "assets" / "clips" / BUILT_IN_CLIP) as path:
        yield path


def _roundtrip(source: Path, model: str | VAE, options: RoundtripOptions, progress: Progress) -> RoundtripResult:
    from cogvae_cli.io.outputs import check_output
    from cogvae_cli.io.standard_streams import local
    from cogvae_cli.io.video_reader import VideoReader

    if options.report is not None:
        if options.report.suffix.lower() != ".json":
            raise UsageError(f"{options.report} doesn't end in .json", "the report is a JSON file")
        check_output(options.report, overwrite=options.overwrite, inputs=[source])
    if str(options.output) == "-":
        raise UsageError("standard output gets the figures of a round trip", "name a file for the video")
    with local(source) as path, VideoReader(path, options.reading) as reader:
        _check_kept(reader, options)
        vae = obtain(model, options, progress)
        result = replace(_Roundtrip(path, vae, reader, progress).run(options), source=source)
    if options.report is not None:
        _write_report(result, options.report, source, options.overwrite)
    return result


def _check_kept(reader: VideoReader, options: RoundtripOptions) -> None:
    """Refuses a video that can't be written, before the model is loaded; its times are known only later."""
    from cogvae_cli.io.destinations import check_video

    if options.output is not None:
        info = reader.info
        write = options.video.write_options(options.output, (info.width, info.height), info.rate or Fraction(25))
        frames = reader.expected_frames or 1
        check_video(options.output, write, frames=frames, overwrite=options.overwrite, inputs=reader.files)


def _write_report(result: RoundtripResult, path: Path, source: Path, overwrite: bool) -> None:
    from cogvae_cli.io.outputs import atomic_output

    text = json.dumps(result.report_dict(), indent=2, allow_nan=False)
    with atomic_output(path, overwrite=overwrite, inputs=[source]) as part:
        part.write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Pending:
    """A chunk that the device is busy with."""

    encoded_finite: jax.Array
    decoded: DecodedChunk
    mse: jax.Array
    ssim: jax.Array | None


class _Roundtrip:
    """One clip on its way: the networks' caches, and the errors measured so far."""

    def __init__(self, source: Path, vae: VAE, reader: VideoReader, progress: Progress) -> None:
        from cogvae_cli.report.metrics import QualityMeter

        self._source = source
        self._vae = vae
        self._reader = reader
        self._progress = progress
        self._width, self._height = reader.info.width, reader.info.height
        self._encode_caches: Caches = None
        self._decode_caches: Caches = None
        self._meter = QualityMeter()
        self._notices = Notices(progress)
        self._notices.tell(reader.notices)

    def run(self, options: RoundtripOptions) -> RoundtripResult:
        start = time.perf_counter()
        size = size_text(self._width, self._height)
        compiling = Compiling(self._progress, size, "encoding and decoding")
        self._progress.begin(self._reader.expected_frames)
        try:
            with named_memory_errors(size), self._destination(options) as writer:
                self._stream(writer, compiling)
        finally:
            self._progress.end()
        self._notices.tell(self._reader.notices)
        return self._result(options, time.perf_counter() - start, compiling.seconds)

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

    def _stream(self, writer: FrameWriter | None, compiling: Compiling) -> None:
        keep = WriteBehind(writer.write) if writer is not None else nullcontext()
        with keep as behind, Prefetch(prepared(self._reader.chunks(FIRST_FRAMES, FRAMES))) as chunks:
            for chunk, pending in one_ahead(self._dispatch, chunks, compiling):
                self._measure(chunk, pending)
                if behind is not None:
                    result = np.asarray(pending.decoded.frames)[0, : chunk.count]
                    behind.put(crop(result, self._height, self._width))
                self._progress.advance(chunk.count)

    def _dispatch(self, chunk: Chunk) -> _Pending:
        from cogvae_cli.report.metrics import frame_errors

        pixels = chunk.frames[None]
        encoded, self._encode_caches = self._vae.encode_chunk(pixels, self._encode_caches)
        decoded, self._decode_caches = self._vae.decode_chunk(encoded.mean, self._decode_caches)
        mse, ssim = frame_errors(pixels, decoded.frames, height=self._height, width=self._width)
        return _Pending(encoded.finite, decoded, mse, ssim)

    def _measure(self, chunk: Chunk, pending: _Pending) -> None:
        """Takes in the errors of the frames that are the video's own."""
        check_encoded(np.asarray(pending.encoded_finite), chunk)
        check_decoded(np.asarray(pending.decoded.finite), chunk.first)
        ssim = None if pending.ssim is None else np.asarray(pending.ssim)[0, : chunk.count]
        self._meter.add(np.asarray(pending.mse)[0, : chunk.count], ssim)

    def _result(self, options: RoundtripOptions, seconds: float, compile_seconds: float) -> RoundtripResult:
        quality, timing = self._meter.quality(), self._reader.timing
        height, width = (side + padding(side) for side in (self._height, self._width))
        encoded = padded(quality.frames)
        return RoundtripResult(
            source=self._source,
            output=options.output,
            report=options.report,
            width=self._width,
            height=self._height,
            rate=timing.rate,
            variable_rate=timing.variable,
            padded_frames=encoded - quality.frames,
            latents_shape=(latents_of(encoded), height // SPACE, width // SPACE, self._vae.config.latent_channels),
            tiles=tiles_of(self._vae, height, width),
            quality=quality,
            model=self._vae.source,
            encode_dtype=self._vae.encode_dtype,
            decode_dtype=self._vae.decode_dtype,
            device=device_name(),
            notices=self._notices.told,
            damage=self._reader.damage,
            seconds=seconds,
            compile_seconds=compile_seconds,
        )
