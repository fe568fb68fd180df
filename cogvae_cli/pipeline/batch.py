"""Many clips into one folder: what is there already stays, the rest is made, and the manifest tells what came of each.

This process supervises: it lists, judges, names and records, and never touches a device. `batch_crew` keeps a worker.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cogvae_cli.errors import CogvaeError, OutputError, OutputExistsError, UsageError
from cogvae_cli.io.listing import Listed
from cogvae_cli.model.config import DEFAULT_MODEL
from cogvae_cli.pipeline.batch_crew import Crew
from cogvae_cli.pipeline.batch_existing import Judge, Judgement
from cogvae_cli.pipeline.batch_messages import Advanced, Failed, Job, Kind, Made, Noticed, Phase, Task
from cogvae_cli.pipeline.batch_options import BatchOptions, mirrored, settings_hash, suffix_of
from cogvae_cli.pipeline.batch_plan import Clip, Plan
from cogvae_cli.pipeline.batch_progress import BatchProgress
from cogvae_cli.pipeline.batch_records import Records
from cogvae_cli.pipeline.batch_result import BatchResult
from cogvae_cli.pipeline.decode import DecodeOptions
from cogvae_cli.pipeline.encode import EncodeOptions
from cogvae_cli.pipeline.progress import Progress

THREADS = 4
"""Clips that the worker has at a time: one computes, two are decoded ahead, one is stored."""

_PATIENCE = 0.5  # seconds between two looks at a worker that says nothing
_AT_ONCE = 256  # clips that are judged before the worker is listened to
_NOTICES = 1000  # different ones that are told


@dataclass(frozen=True)
class BatchJob:
    """All that a batch needs to know."""

    kind: Kind
    inputs: Sequence[str]
    """Files, folders, patterns, lists (.txt) and tables (.csv, .tsv, .jsonl)."""
    out: Path
    model: str | None = None
    options: EncodeOptions | DecodeOptions = field(default_factory=EncodeOptions)
    batch: BatchOptions = field(default_factory=BatchOptions)


def encode_batch(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    model: str = DEFAULT_MODEL,
    options: EncodeOptions | None = None,
    batch: BatchOptions | None = None,
) -> BatchResult:
    """Encodes many videos into latents files below the folder `out`, which mirrors the inputs' tree.

    Goes on after clips that fail: the result counts them, and names their list. Raises UsageError for outputs that
    collide, InputError for inputs that stand for nothing, OutputError where the folder can't be written or another
    batch writes to it, and what loading the model raises.
    """
    names = [str(one) for one in inputs]
    return run_batch(BatchJob("encode", names, Path(out), model, options or EncodeOptions(), batch or BatchOptions()))


def decode_batch(
    inputs: Sequence[str | Path],
    out: str | Path,
    *,
    model: str | None = None,
    options: DecodeOptions | None = None,
    batch: BatchOptions | None = None,
) -> BatchResult:
    """Decodes many latents files into videos below the folder `out`; as `encode_batch` otherwise."""
    names = [str(one) for one in inputs]
    return run_batch(BatchJob("decode", names, Path(out), model, options or DecodeOptions(), batch or BatchOptions()))


def run_batch(job: BatchJob, progress: BatchProgress | None = None) -> BatchResult:
    """Runs a batch to its end. Raises as `encode_batch`."""
    start = time.monotonic()
    progress = progress or BatchProgress()
    out, suffix = out_of(job), suffix_of(job.options)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: can't be made ({error.strerror})") from error
    with ExitStack() as stack:
        records = stack.enter_context(Records(out, job.batch, progress))
        clips = listed(job, out)
        progress.phase("listing the clips")
        plan = stack.enter_context(Plan(clips, out, suffix, job.batch.shard, flip=job.batch.flip))
        progress.begin(plan.count)
        stack.callback(progress.end)
        run = _Run(job, out, plan, records)
        records.log(f"{job.kind}: {plan.count} clips into {out}")
        run.go()
        counts, failures = records.counts, records.settle()
    return BatchResult(
        kind=job.kind,
        out=out,
        manifest=out / job.batch.manifest,
        failures=failures,
        clips=plan.count,
        counts=counts,
        seconds=time.monotonic() - start,
        first_error=records.first_error,
    )


def out_of(job: BatchJob) -> Path:
    """The output folder, absolute. Raises UsageError for a URL."""
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(job.out)):
        raise UsageError(f"{job.out}: outputs can't be written to a URL", "mount the bucket, and name the folder")
    return Path(os.path.abspath(job.out))  # noqa: PTH100 - links stay, ".." goes


def listed(job: BatchJob, out: Path) -> Iterator[Listed]:
    """The clips that the inputs stand for. Raises InputError for inputs that stand for nothing."""
    from cogvae_cli.io.listing import FOREIGN_LATENTS, LATENTS, VIDEOS, ListOptions, list_clips

    suffixes: tuple[str, ...] = VIDEOS
    if isinstance(job.options, DecodeOptions):
        suffixes = (*LATENTS, *FOREIGN_LATENTS) if job.options.foreign.given() else LATENTS
    asked = job.batch
    return list_clips(
        job.inputs, ListOptions(suffixes, job.kind, asked.recursive, asked.root, asked.path_column, skip=out)
    )


@dataclass
class _Sent:
    """A clip that the crew has."""

    clip: Clip
    overwrite: bool


class _Run:
    """One batch at work."""

    def __init__(self, job: BatchJob, out: Path, plan: Plan, records: Records) -> None:
        self._job, self._out, self._plan, self._records = job, out, plan, records
        self._options = {False: job.options}
        if isinstance(job.options, EncodeOptions):
            self._options[True] = mirrored(job.options)
        self._settings = {mirror: settings_hash(job.kind, options) for mirror, options in self._options.items()}
        self._sent: dict[int, _Sent] = {}
        self._told: set[str] = set()
        self._is_over = False

    def go(self) -> None:
        """Makes all clips, or those up to the first failure."""
        job, batch = self._job, self._job.batch
        work = Job(job.kind, job.model, job.options, self._records.work.path, suffix_of(job.options), THREADS)
        crew = Crew(work, timeout=batch.timeout)
        try:
            self._feed_and_listen(crew, self._todo())
        finally:
            crew.close()

    def _feed_and_listen(self, crew: Crew, todo: Iterator[tuple[Clip, bool] | None]) -> None:
        number, exhausted = 0, False
        while not self._is_over and not (exhausted and crew.is_idle):
            for _ in range(_AT_ONCE):
                if exhausted or self._is_over or not crew.has_room:
                    break
                found = next(todo, False)
                exhausted = found is False
                if isinstance(found, tuple):
                    clip, overwrite = found
                    self._sent[number] = _Sent(clip, overwrite)
                    crew.submit(Task(number, clip.source, clip.mirrored))
                    number += 1
            self._listen(crew, wait=exhausted or not crew.has_room)

    def _listen(self, crew: Crew, *, wait: bool = True) -> None:
        for event in crew.events(_PATIENCE if wait else 0):
            self._take(event)
        for why in crew.restarts:
            self._records.counts.restarts += 1
            self._records.log(why)
            self._notice(f"{why}; another one goes on")
        crew.restarts.clear()

    def _todo(self) -> Iterator[tuple[Clip, bool] | None]:
        """The clips that have to be made, and whether over an old output; None for one that needn't."""
        batch = self._job.batch
        identity = None if batch.existing == "overwrite" else self._identity()
        judges = {
            mirror: Judge(options, self._settings[mirror], self._out, identity, batch)
            for mirror, options in self._options.items()
        }
        for clip in self._plan:
            if batch.existing == "overwrite":
                yield clip, True
                continue
            try:
                found = judges[clip.mirrored].judge(clip, self._records.manifest.last(clip.output))
            except CogvaeError as error:
                self._refuse(clip, error)
                found = Judgement(None)
                yield None
                continue
            if found is None:
                yield clip, False
            elif found.fault is None:
                self._skip(clip, found)
                yield None
            elif batch.existing == "skip":
                self._records.log(f"again {clip.output}: {found.fault}")
                self._notice(f"{clip.output} is made anew: {found.fault}")
                yield clip, True
            else:
                hint = "-y overwrites; --skip-existing makes anew what differs"
                hint = "take another --out-dir" if batch.shards is not None else hint
                self._refuse(clip, OutputExistsError(f"{clip.output}: exists already; {found.fault}", hint))
                yield None

    def _identity(self) -> str | None:
        """Of the model, whose files it fetches where they aren't here. Raises ModelError, HubError and UsageError."""
        from cogvae_cli.io import hub, weights
        from cogvae_cli.pipeline.model_files import transfer_to

        model = self._job.model
        if model is None:
            return None
        self._records.progress.phase(f"loading model {model}")
        transfer = transfer_to(_Fetching(self._records.progress))
        files = hub.find_model(model, revision=self._job.options.revision, transfer=transfer)
        return weights.identity(weights.read_tensors(files))

    def _row(self, clip: Clip, status: str) -> dict[str, Any]:
        return self._records.row(self._job.kind, clip, status, self._settings[clip.mirrored])

    def _skip(self, clip: Clip, found: Judgement) -> None:
        base = self._row(clip, "done")
        row = None if found.row is None else {**base, **found.row, "columns": dict(clip.columns)}
        self._records.skipped(self._row(clip, "skipped"), row)

    def _refuse(self, clip: Clip, error: CogvaeError) -> None:
        """A clip that isn't tried: its row in the manifest, if it has one, still holds."""
        fault = {"error": error.message, "error_kind": type(error).__name__, "hint": error.hint}
        self._records.failed(self._row(clip, "failed") | fault, tried=False)
        self._is_over = self._is_over or self._job.batch.fail_fast

    def _take(self, event: Made | Failed | Advanced | Phase | Noticed) -> None:
        if isinstance(event, Made):
            self._made(event)
        elif isinstance(event, Failed):
            self._failed(event)
        elif isinstance(event, Advanced):
            clip = self._sent[event.number].clip
            self._records.progress.clip(clip.relative, event.done, event.total)
        elif isinstance(event, Noticed):
            self._notice(event.text)

    def _made(self, made: Made) -> None:
        sent = self._sent.pop(made.number)
        row = {**self._row(sent.clip, "done"), **made.facts}
        try:
            self._records.done(made.path, row, overwrite=sent.overwrite)
        except (OutputError, OutputExistsError) as error:
            made.path.unlink(missing_ok=True)
            self._sent[made.number] = sent
            self._failed(Failed(made.number, type(error).__name__, error.message, error.hint, False, ""))

    def _failed(self, failed: Failed) -> None:
        sent = self._sent.pop(failed.number)
        fault = {"error": failed.message, "error_kind": failed.kind, "hint": failed.hint}
        has_old = sent.overwrite and (self._out / sent.clip.output).exists()
        self._records.failed(self._row(sent.clip, "failed") | fault, tried=not has_old)
        if failed.trace and failed.kind not in _EXPLAINED:
            self._records.log(failed.trace)
        self._is_over = self._is_over or self._job.batch.fail_fast

    def _notice(self, text: str) -> None:
        """Each once, however many clips it is about."""
        if text not in self._told and len(self._told) < _NOTICES:
            self._told.add(text)
            self._records.progress.notice(text)
            self._records.log(f"notice: {text}")


class _Fetching(Progress):
    """Passes on what is told while a model is fetched."""

    def __init__(self, batch: BatchProgress) -> None:
        self._batch = batch

    def phase(self, name: str) -> None:
        self._batch.phase(name)

    def notice(self, text: str) -> None:
        self._batch.notice(text)


_EXPLAINED = {
    "VideoError",
    "InputError",
    "LatentsError",
    "ModelError",
    "OutputError",
    "OutputExistsError",
    "UsageError",
}
"""Errors that say all in their line."""
