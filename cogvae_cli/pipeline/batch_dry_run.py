"""What a batch would do: its clips are listed and their outputs looked for. No clip is opened, nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cogvae_cli.io.store import Store
from cogvae_cli.pipeline.batch import BatchJob, listed, url_of
from cogvae_cli.pipeline.batch_home import home_of
from cogvae_cli.pipeline.batch_options import Existing, suffix_of
from cogvae_cli.pipeline.batch_plan import Plan
from cogvae_cli.pipeline.dry_run import DryRun, model_text

_SHOWN = 3

_FATE: Mapping[Existing, str] = {
    "resume": "kept if they are whole and made the same way of the same sources, else in the way",
    "skip": "kept if they are whole and made the same way of the same sources, else made anew",
    "overwrite": "made anew",
}


def plan_batch(job: BatchJob) -> DryRun:
    """What `run_batch` would do. Raises what it raises before the first clip, but for the model's weights.

    Outputs that are there are counted, not judged: that reads sources and weights.
    """
    url, suffix, batch = url_of(job), suffix_of(job.options), job.batch
    out, store = home_of(url, job.out), None if url is None else Store(url)
    known = _in_shards(out) if batch.shards is not None else None
    there = 0
    first: list[str] = []
    with Plan(listed(job, out), out, suffix, batch.shard, flip=batch.flip) as plan:
        for clip in plan:
            if store is not None:
                there += store.has(clip.output)
            else:
                there += clip.output in known if known is not None else (out / clip.output).exists()
            if len(first) < _SHOWN:
                first.append(f"{clip.relative} -> {clip.output}")
        facts = {
            "into": url or str(out),
            "clips": plan.count,
            "to_make": plan.count - there,
            "there_already": there,
            "which_are": _FATE[batch.existing] if there else None,
            "first": "; ".join(first) or None,
            "manifest": batch.manifest,
            "model": _model(job),
        }
    return DryRun(job.kind, facts, (), ())


def _in_shards(out: Path) -> set[str]:
    """The outputs that tar shards hold already."""
    from cogvae_cli.io.manifest import read_manifest

    rows = (row for path in sorted(out.glob("manifest*.jsonl")) for row in read_manifest(path))
    return {row["output"] for row in rows if row.get("status") == "done" and "shard" in row}


def _model(job: BatchJob) -> str:
    if job.model is None:
        return "the one that each file names"
    return model_text(job.model, job.options.revision)
