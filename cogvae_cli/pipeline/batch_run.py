"""A batch at work: which clips are due, who makes them, and what is recorded of each. It never touches a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogvae_cli.errors import CogvaeError, OutputError, OutputExistsError
from cogvae_cli.pipeline.batch_crew import Crew
from cogvae_cli.pipeline.batch_existing import Judge, Judgement
from cogvae_cli.pipeline.batch_messages import Advanced, Event, Failed, Job, Made, Noticed, Part, Task
from cogvae_cli.pipeline.batch_options import BatchOptions, mirrored, settings_hash, suffix_of
from cogvae_cli.pipeline.batch_plan import Clip, Plan
from cogvae_cli.pipeline.batch_progress import BatchProgress
from cogvae_cli.pipeline.batch_records import Records
from cogvae_cli.pipeline.batch_windows import window_of, windows_there
from cogvae_cli.pipeline.encode import EncodeOptions
from cogvae_cli.pipeline.progress import Progress

if TYPE_CHECKING:
    from cogvae_cli.pipeline.batch import BatchJob
    from cogvae_cli.pipeline.batch_ray import RayCrew

THREADS = 4
"""Clips that the worker has at a time: one computes, two are decoded ahead, one is stored."""

_PATIENCE = 0.5  # seconds between two looks at a worker that says nothing
_AT_ONCE = 256  # clips that are judged before the worker is listened to
_NOTICES = 1000  # different ones that are told


@dataclass
class _Sent:
    """A clip that the crew has."""

    clip: Clip
    overwrite: bool
    start: int | None = None
    """Where its next window starts, if it is cut into several."""
    is_over: bool = False
    """Whether it has failed, and what else is made of it isn't wanted."""

    @property
    def due(self) -> Clip:
        """The clip that comes next of it."""
        return self.clip if self.start is None else window_of(self.clip, self.start)


class Run:
    """One batch at work: gives clips to a crew, and records what becomes of them."""

    def __init__(self, job: BatchJob, out: Path, plan: Plan, records: Records) -> None:
        self._job, self._out, self._plan, self._records = job, out, plan, records
        self._options = {False: job.options}
        if isinstance(job.options, EncodeOptions):
            self._options[True] = mirrored(job.options)
        self._settings = {mirror: settings_hash(job.kind, options) for mirror, options in self._options.items()}
        self._sent: dict[int, _Sent] = {}
        self._told: set[str] = set()
        options = job.options
        self._stride = options.reading.stride if isinstance(options, EncodeOptions) and options.cuts else None
        """Frames from one clip of a video to the next, if videos are cut into several."""
        self.count = plan.count
        """Clips, as far as is known: of videos that are cut, each counts as one until it was read."""
        self._is_over = False

    def go(self) -> None:
        """Makes all clips, or those up to the first failure."""
        job, batch = self._job, self._job.batch
        size = batch.batch_size if job.kind == "encode" else 1
        threads = THREADS if size == 1 else 2 * size + 2  # a group computes, and another one is read
        work = Job(
            kind=job.kind,
            model=job.model,
            options=job.options,
            work=self._records.work.path,
            suffix=suffix_of(job.options),
            threads=threads,
            store=batch.store,
            batch_size=size,
        )
        crew = _crew(work, batch)
        try:
            self._feed_and_listen(crew, self._todo())
        finally:
            crew.close()

    def _feed_and_listen(self, crew: Crew | RayCrew, todo: Iterator[_Sent | None]) -> None:
        number, exhausted = 0, False
        while not self._is_over and not (exhausted and crew.is_idle):
            for _ in range(_AT_ONCE):
                if exhausted or self._is_over or not crew.has_room:
                    break
                found = next(todo, False)
                exhausted = found is False
                if isinstance(found, _Sent):
                    self._sent[number] = found
                    clip = found.clip
                    place = (clip.output, found.overwrite)
                    crew.submit(Task(number, clip.source, clip.mirrored, found.start or 0, *place))
                    number += 1
            self._listen(crew, wait=exhausted or not crew.has_room)

    def _listen(self, crew: Crew | RayCrew, *, wait: bool = True) -> None:
        for event in crew.events(_PATIENCE if wait else 0):
            self._take(event)
        for why in crew.restarts:
            self._records.counts.restarts += 1
            self._records.log(why)
            self._notice(f"{why}; another one goes on")
        crew.restarts.clear()

    def _todo(self) -> Iterator[_Sent | None]:
        """The clips that have to be made; None for one that needn't."""
        batch = self._job.batch
        identity = None if batch.existing == "overwrite" else self._identity()
        judges = {
            mirror: Judge(options, self._settings[mirror], self._out, identity, batch)
            for mirror, options in self._options.items()
        }
        for clip in self._plan:
            if batch.existing == "overwrite":
                yield _Sent(clip, True, None if self._stride is None else 0)
                continue
            try:
                yield self._judged(clip, judges[clip.mirrored])
            except CogvaeError as error:
                self._refuse(clip if self._stride is None else window_of(clip, 0), error)
                yield None

    def _judged(self, clip: Clip, judge: Judge) -> _Sent | None:
        """What is to be made of a clip, or of the rest of a video that is cut. Raises CogvaeError."""
        manifest = self._records.manifest
        if self._stride is None:
            found = judge.judge(clip, manifest.last(clip.output))
            if found is None:
                return _Sent(clip, False)
            if found.fault is None:
                self._skip(clip, found)
                return None
            return _Sent(clip, True) if self._makes_anew(clip, found.fault) else None
        there = windows_there(clip, self._stride, judge, manifest)
        for window, judgement in there.kept:
            self._skip(window, judgement)
        self._grow(len(there.kept) - (there.start is None))
        if there.fault is not None:
            return _Sent(clip, True, there.start) if self._makes_anew(*there.fault) else None
        return None if there.start is None else _Sent(clip, self._job.batch.existing == "skip", there.start)

    def _makes_anew(self, clip: Clip, fault: str) -> bool:
        batch = self._job.batch
        if batch.existing == "skip":
            self._records.log(f"again {clip.output}: {fault}")
            self._notice(f"{clip.output} is made anew: {fault}")
            return True
        hint = "-y overwrites; --skip-existing makes anew what differs"
        hint = "take another --out-dir" if batch.shards is not None else hint
        self._refuse(clip, OutputExistsError(f"{clip.output}: exists already; {fault}", hint))
        return False

    def _grow(self, count: int) -> None:
        if count:
            self.count += count
            self._records.progress.grow(count)

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

    def _take(self, event: Event) -> None:
        if isinstance(event, Made | Part):
            self._made(event)
        elif isinstance(event, Failed):
            self._failed(event)
        elif isinstance(event, Advanced):
            clip = self._sent[event.number].clip
            self._records.progress.clip(clip.relative, event.done, event.total)
        elif isinstance(event, Noticed):
            self._notice(event.text)

    def _made(self, made: Made | Part) -> None:
        sent, start = self._sent[made.number], made.facts.get("start_frame")
        if sent.is_over or (start is not None and start != sent.start):  # made again, after a worker had died
            made.path.unlink(missing_ok=True)
        else:
            self._record(sent, made)
            self._grow(isinstance(made, Part) and not sent.is_over)
        if isinstance(made, Made):
            self._sent.pop(made.number)

    def _record(self, sent: _Sent, made: Made | Part) -> None:
        row = {**self._row(sent.due, "done"), **made.facts}
        try:
            self._records.done(made.path, row, overwrite=sent.overwrite)
        except (OutputError, OutputExistsError) as error:
            made.path.unlink(missing_ok=True)
            self._fail(sent, Failed(made.number, type(error).__name__, error.message, error.hint, False, ""))
        if sent.start is not None and self._stride is not None:
            sent.start += self._stride

    def _failed(self, failed: Failed) -> None:
        sent = self._sent.pop(failed.number)
        if not sent.is_over:
            self._fail(sent, failed)

    def _fail(self, sent: _Sent, failed: Failed) -> None:
        sent.is_over = True
        fault = {"error": failed.message, "error_kind": failed.kind, "hint": failed.hint}
        has_old = sent.overwrite and (self._out / sent.due.output).exists()
        self._records.failed(self._row(sent.due, "failed") | fault, tried=not has_old)
        if failed.trace and failed.kind not in _EXPLAINED:
            self._records.log(failed.trace)
        self._is_over = self._is_over or self._job.batch.fail_fast

    def _notice(self, text: str) -> None:
        """Each once, however many clips it is about."""
        if text not in self._told and len(self._told) < _NOTICES:
            self._told.add(text)
            self._records.progress.notice(text)
            self._records.log(f"notice: {text}")


def _crew(work: Job, batch: BatchOptions) -> Crew | RayCrew:
    if batch.ray is None:
        return Crew(work, timeout=batch.timeout)
    from cogvae_cli.pipeline.batch_ray import RayCrew

    return RayCrew(work, batch.ray, timeout=batch.timeout)


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
