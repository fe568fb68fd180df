"""What a batch would do: its clips are listed and their outputs looked for. No clip is opened, nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cogvae_cli.io.store import Store
from cogvae_cli.pipeline.batch import BatchJob, listed, url_of
from cogvae_cli.pipeline.batch_home import home_of
from cogvae_cli.pipeline.batch_options import Existing, suffix_of
from cogvae_cli.pipeline.batch_plan import Plan, window_name
from cogvae_cli.pipeline.dry_run import DryRun, model_text
from cogvae_cli.pipeline.encode import EncodeOptions

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
    cuts = isinstance(job.options, EncodeOptions) and job.options.cuts
    known = _known(out, in_shards=batch.shards is not None) if cuts or batch.shards is not None else None
    there = 0
    first: list[str] = []
    with Plan(listed(job, out), out, suffix, batch.shard, flip=batch.flip) as plan:
        for clip in plan:
            output = window_name(clip.output, 0) if cuts else clip.output
            if known is not None:
                there += output in known
            else:
                there += (out / output).exists() if store is None else store.has(output)
            if len(first) < _SHOWN:
                first.append(f"{clip.relative} -> {output}")
        facts = {
            "into": url or str(out),
            "videos_to_cut" if cuts else "clips": plan.count,
            "to_make": None if cuts else plan.count - there,
            "begun_already" if cuts else "there_already": there,
            "which_are": _FATE[batch.existing] if there else None,
            "first": "; ".join(first) or None,
            "manifest": batch.manifest,
            "model": _model(job),
        }
    return DryRun(job.kind, facts, (), ())


def _known(out: Path, *, in_shards: bool) -> set[str]:
    """The outputs that manifests here tell of: in tar shards, or cut of videos."""
    from cogvae_cli.io.manifest import read_manifest

    rows = (row for path in sorted(out.glob("manifest*.jsonl")) for row in read_manifest(path))
    return {row["output"] for row in rows if row.get("status") == "done" and ("shard" in row or not in_shards)}


def _model(job: BatchJob) -> str:
    if job.model is None:
        return "the one that each file names"
    return model_text(job.model, job.options.revision)
