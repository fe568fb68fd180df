"""Two videos measured against each other, frame by frame, the way a round trip is. Memory doesn't grow with length."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cogvae_cli.errors import UsageError, VideoError
from cogvae_cli.pipeline.compare_result import CompareResult
from cogvae_cli.pipeline.device import device_name
from cogvae_cli.pipeline.gates import Gates
from cogvae_cli.pipeline.machine import device_facts, memory_facts, versions
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.recording import Pair, Recorded, Recorder
from cogvae_cli.pipeline.report_facts import frame_facts, input_facts, place_facts, plain_bytes, quality_facts
from cogvae_cli.pipeline.report_files import ReportFiles
from cogvae_cli.pipeline.report_page import write_report
from cogvae_cli.pipeline.results import rate_text, size_text
from cogvae_cli.pipeline.stages import Prefetch, WriteBehind
from cogvae_cli.pipeline.stopwatch import Stopwatch
from cogvae_cli.pipeline.video_options import ReadOptions

if TYPE_CHECKING:
    from cogvae_cli.io.video_reader import VideoReader

BATCH = 8
"""Frames that are measured at once."""


@dataclass(frozen=True)
class CompareOptions:
    """What is read of both videos, and what is made of it."""

    report: Path | None = None
    """Where the report goes, if anywhere: an .html page with its figures in a .json beside it, or a .json alone."""
    gates: Gates = field(default_factory=Gates)
    """Least figures; the result says which were reached, and nothing is raised."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """Which part of both videos is read, and how."""
    overwrite: bool = False


def compare_files(
    first: str | Path,
    second: str | Path,
    *,
    options: CompareOptions | None = None,
    progress: Progress | None = None,
) -> CompareResult:
    """Measures PSNR, SSIM, and with a report VMAF and XPSNR, of the second video against the first one.

    Frames are compared by their order, as 8-bit RGB of the size that they are shown in; times don't count.
    Raises VideoError where sizes or counts of frames differ, and what reading a video raises; OutputExistsError,
    OutputError and UsageError for the report.
    """
    from cogvae_cli.io.picture_sequence import files_of
    from cogvae_cli.io.standard_streams import STANDARD, local
    from cogvae_cli.io.video_reader import VideoReader

    names = (Path(first), Path(second))
    options, progress = options or CompareOptions(), progress or Progress()
    files = None if options.report is None else ReportFiles.of(options.report)
    inputs = [*files_of(names[0]), *files_of(names[1])]
    if files is not None:
        files.check(overwrite=options.overwrite, inputs=inputs)
    if names[0] == names[1] == STANDARD:
        raise UsageError("both videos can't come from standard input", "name a file for one of them")
    options.gates.check_possible()
    with ExitStack() as stack:
        paths = [stack.enter_context(local(name)) for name in names]
        readers = [stack.enter_context(VideoReader(path, options.reading)) for path in paths]
        run = _Comparison(names, (readers[0], readers[1]), progress)
        recorder = None
        if files is not None or options.gates.vmaf is not None:
            folder = None if files is None else stack.enter_context(files.workshop())
            info = readers[0].info
            recorder = stack.enter_context(Recorder(info.width, info.height, info.rate or Fraction(25), folder))
        result, recorded = run.run(options, recorder)
        if files is not None and recorded is not None:
            progress.phase("writing the report")
            write_report(result.report_dict(), recorded, files, overwrite=options.overwrite, inputs=inputs)
    return result


def report_path(first: str | Path, second: str | Path) -> Path:
    """Where a report goes if nothing else is said: `<first>-<second>.report.html` in the current folder."""
    stems = ("stdin" if str(path) == "-" else Path(path).stem for path in (first, second))
    return Path(f"{'-'.join(stems)}.report.html")


class _Comparison:
    """Two videos on their way, and the errors measured so far. Raises VideoError at once where their sizes differ."""

    def __init__(self, names: tuple[Path, Path], readers: tuple[VideoReader, VideoReader], progress: Progress) -> None:
        from cogvae_cli.report.metrics import QualityMeter

        self._names, self._readers, self._progress = names, readers, progress
        self._sizes = [(reader.info.width, reader.info.height) for reader in readers]
        if self._sizes[0] != self._sizes[1]:
            a, b = (size_text(*size) for size in self._sizes)
            raise VideoError(
                f"{names[0]} is {a} and {names[1]} is {b}: only videos of one size can be compared",
                f"give both that size with --size {a}",
            )
        self._meter = QualityMeter()
        self._watch = Stopwatch()
        self._notices = Notices(progress)

    def run(self, options: CompareOptions, recorder: Recorder | None) -> tuple[CompareResult, Recorded | None]:
        start = time.perf_counter()
        for reader in self._readers:
            self._notices.tell(reader.notices)
        self._progress.begin(self._readers[0].expected_frames)
        self._progress.phase("comparing")
        try:
            with ExitStack() as stack:
                record = None if recorder is None else stack.enter_context(WriteBehind(recorder.add))
                for first, second in self._watch.waiting("waiting_for_frames", self._pairs(stack)):
                    with self._watch.stage("measuring"):
                        pair = self._measure(first, second)
                    with self._watch.stage("handing_over"):
                        if record is not None:
                            record.put(pair)
                    self._progress.advance(len(first))
            recorded = None if recorder is None else recorder.finish()
        finally:
            self._progress.end()
        self._tell_of_times()
        return self._result(options, time.perf_counter() - start, recorded), recorded

    def _pairs(self, stack: ExitStack) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches of both videos. Raises VideoError at their end where one has more frames."""
        streams = [stack.enter_context(Prefetch(reader.chunks(BATCH, BATCH))) for reader in self._readers]
        counts = [0, 0]
        for first, second in itertools.zip_longest(*streams):
            counts = [
                count + (0 if batch is None else len(batch))
                for count, batch in zip(counts, (first, second), strict=True)
            ]
            if first is not None and second is not None and counts[0] == counts[1]:
                yield first, second
        if counts[0] != counts[1]:
            a, b = (f"{name} has {count}" for name, count in zip(self._names, counts, strict=True))
            raise VideoError(
                f"{a} frames and {b}: only videos of as many frames can be compared",
                f"take as many of both with --frames {min(counts)}",
            )

    def _measure(self, first: np.ndarray, second: np.ndarray) -> Pair:
        from cogvae_cli.report.metrics import error_by_pixel, frame_errors

        width, height = self._sizes[0]
        count = len(first)
        missing = ((0, BATCH - count), (0, 0), (0, 0), (0, 0))  # one shape, so that one program does for all
        a, b = (np.pad(frames, missing, mode="edge")[None] for frames in (first, second))
        mse, ssim = frame_errors(a, b, height=height, width=width)
        errors = np.asarray(mse)[0, :count]
        self._meter.add(errors, None if ssim is None else np.asarray(ssim)[0, :count])
        return Pair(first, second, errors, np.asarray(error_by_pixel(a, b, np.int32(count))))

    def _tell_of_times(self) -> None:
        for reader in self._readers:
            self._notices.tell(reader.notices)
        first, second = (reader.timing.rate for reader in self._readers)
        if first != second:
            self._notices.tell([f"the first video has {first} frames/s, the second one {second}; times don't count"])

    def _result(self, options: CompareOptions, seconds: float, recorded: Recorded | None) -> CompareResult:
        quality, timing = self._meter.quality(), self._readers[0].timing
        perceptual = None if recorded is None else recorded.perceptual
        width, height = self._sizes[0]
        return CompareResult(
            first=self._names[0],
            second=self._names[1],
            report=options.report,
            width=width,
            height=height,
            rate=timing.rate,
            variable_rate=timing.variable,
            quality=quality,
            perceptual=perceptual,
            verdicts=options.gates.verdicts(quality_facts(quality, perceptual)),
            device=device_name(),
            notices=self._notices.told,
            seconds=seconds,
            details={} if recorded is None else self._details(recorded, seconds),
        )

    def _details(self, recorded: Recorded, seconds: float) -> dict[str, Any]:
        """What only the report tells."""
        quality, (first, second) = self._meter.quality(), self._readers
        return {
            "input": input_facts(first.info),
            "second_input": input_facts(second.info),
            "settings": {"second rate": rate_text(second.timing.rate)} | first.record(),
            "by_frame": frame_facts(quality, recorded.perceptual),
            **place_facts(recorded),
            "sizes": {
                "source_bytes": first.info.bytes,
                "second_source_bytes": second.info.bytes,
                "plain_rgb_bytes": plain_bytes(quality.frames, self._sizes[0]),
            },
            "stages": self._watch.stages(seconds),
            "memory": memory_facts(),
            "versions": versions(),
            "machine": device_facts(),
        }
