"""Many clips into one folder: what is there already stays, the rest is made, and the manifest tells what came of each.

This process supervises: it lists, judges, names and records, and never touches a device. `batch_crew` keeps a worker.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from cogvae_cli.io.listing import Listed
from cogvae_cli.io.remote import is_url
from cogvae_cli.model.config import DEFAULT_MODEL
from cogvae_cli.pipeline.batch_home import made_home
from cogvae_cli.pipeline.batch_messages import Kind
from cogvae_cli.pipeline.batch_options import BatchOptions, suffix_of
from cogvae_cli.pipeline.batch_plan import Plan
from cogvae_cli.pipeline.batch_progress import BatchProgress
from cogvae_cli.pipeline.batch_records import Records
from cogvae_cli.pipeline.batch_result import BatchResult
from cogvae_cli.pipeline.batch_run import Run
from cogvae_cli.pipeline.decode import DecodeOptions
from cogvae_cli.pipeline.encode import EncodeOptions


@dataclass(frozen=True)
class BatchJob:
    """All that a batch needs to know."""

    kind: Kind
    inputs: Sequence[str]
    """Files, folders, patterns, lists (.txt) and tables (.csv, .tsv, .jsonl)."""
    out: str | Path
    """A folder, or the URL of one."""
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
    return run_batch(BatchJob("encode", names, out, model, options or EncodeOptions(), batch or BatchOptions()))


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
    return run_batch(BatchJob("decode", names, out, model, options or DecodeOptions(), batch or BatchOptions()))


def run_batch(job: BatchJob, progress: BatchProgress | None = None) -> BatchResult:
    """Runs a batch to its end. Raises as `encode_batch`."""
    start = time.monotonic()
    progress = progress or BatchProgress()
    suffix, url = suffix_of(job.options), url_of(job)
    job = dataclasses.replace(job, batch=dataclasses.replace(job.batch, store=url))
    out = made_home(url, job.out)
    with ExitStack() as stack:
        records = stack.enter_context(Records(out, job.batch, progress))
        clips = listed(job, out)
        progress.phase("listing the clips")
        plan = stack.enter_context(Plan(clips, out, suffix, job.batch.shard, flip=job.batch.flip))
        progress.begin(plan.count)
        stack.callback(progress.end)
        run = Run(job, out, plan, records)
        records.log(f"{job.kind}: {plan.count} clips into {job.out}")
        run.go()
        counts, failures = records.counts, records.settle()
    return BatchResult(
        kind=job.kind,
        out=str(out) if url is None else url,
        manifest=str(out / job.batch.manifest) if url is None else f"{url}/{job.batch.manifest}",
        failures=None if failures is None else str(failures) if url is None else f"{url}/{failures.name}",
        clips=run.count,
        counts=counts,
        seconds=time.monotonic() - start,
        first_error=records.first_error,
    )


def url_of(job: BatchJob) -> str | None:
    """The URL of the outputs; None where they go into a folder."""
    return str(job.out) if is_url(str(job.out)) else None


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
