"""What a batch writes down: rows in the manifest, the list of failures, a log, and the counts of its summary."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cogvae_cli.errors import OutputError
from cogvae_cli.io.failures import FailureList
from cogvae_cli.io.log_file import LogFile
from cogvae_cli.io.manifest import Manifest, Row, read_manifest
from cogvae_cli.io.store import Store
from cogvae_cli.io.tar_shards import ShardWriter
from cogvae_cli.io.work_folder import WorkFolder
from cogvae_cli.pipeline.batch_home import fetch_manifests
from cogvae_cli.pipeline.batch_messages import Kind
from cogvae_cli.pipeline.batch_options import BatchOptions
from cogvae_cli.pipeline.batch_progress import BatchProgress
from cogvae_cli.pipeline.batch_result import Counts
from cogvae_cli.pipeline.results import SCHEMA_VERSION

if TYPE_CHECKING:
    from cogvae_cli.pipeline.batch_plan import Clip

_SENDING = 60.0  # seconds between two times that a store gets the manifest
_LEAST_SPACE = 2**20  # bytes; with less on the disk no clip can succeed, and the batch ends


class Records:
    """Everything that a batch leaves, besides its outputs. A context manager: it takes the temporary files away."""

    def __init__(self, out: Path, batch: BatchOptions, progress: BatchProgress) -> None:
        self._out, self.progress = out, progress
        self.counts = Counts()
        self.first_error: str | None = None
        self._has_changed = False
        self.store = None if batch.store is None else Store(batch.store)
        self._names = (batch.manifest, batch.failures)
        self._sent = time.monotonic()
        with ExitStack() as stack:
            self._merged = [] if self.store is None else fetch_manifests(self.store, out, batch)
            self._log = stack.enter_context(LogFile(batch.log_file))
            self.manifest = stack.enter_context(Manifest(out / batch.manifest))
            if self.manifest.unreadable:
                progress.notice(
                    f"{self.manifest.unreadable} lines of {self.manifest.path} can't be read; they are dropped"
                )
            self.work = WorkFolder(out, self.manifest)
            stack.callback(self.work.remove)
            self._failures = FailureList(out / batch.failures)
            stack.callback(self._failures.close)
            self._refused = FailureList(self.work.path / "refused.jsonl")
            stack.callback(self._refused.close)
            if batch.shard is None:
                self._merge_shards()
            shards = batch.shards
            self._tar = None if shards is None else stack.enter_context(ShardWriter(self.manifest, shards))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.log(f"ended by {type(error).__name__}: {error}")
        self._stack.close()

    def log(self, text: str) -> None:
        """A line in the log, if there is one."""
        self._log.write(text)

    def row(self, kind: Kind, clip: Clip, status: str, settings: str) -> dict[str, Any]:
        """What every row has."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "status": status,
            "source": clip.source,
            "relative": clip.relative,
            "output": clip.output,
            "mirrored": clip.mirrored,
            "settings": settings,
            "error": None,
            "columns": dict(clip.columns),
        }

    def done(self, made: Path, row: dict[str, Any], *, overwrite: bool) -> None:
        """A clip whose file is whole, and gets its place now.

        Raises OutputExistsError, and OutputError where it can't have it, before any row is added.
        """
        if self.store is not None:  # who made it put it there
            self.manifest.append(row)
            if time.monotonic() - self._sent > _SENDING:
                self._send(self.store, self._names[0])
        elif self._tar is None:
            self.work.place(made, row, overwrite=overwrite)
            self.work.enter(row)
        else:
            row = row | self._tar.add(made, row)
            self.manifest.append(row)
            made.unlink()
        self._has_changed = True
        self.counts.done += 1
        self.counts.frames += row["frames"]
        self.counts.damaged += "damage" in row
        self.log(f"done {row['output']}: {row['frames']} frames in {row['seconds']:.2f} s")
        self.progress.row(row)

    def skipped(self, row: dict[str, Any], renewed: Row | None) -> None:
        """A clip whose output can stay; `renewed` replaces its row in the manifest."""
        if renewed is not None:
            self.manifest.append(renewed)
            self._has_changed = True
        self.counts.skipped += 1
        self.progress.row(row)

    def failed(self, row: dict[str, Any], *, tried: bool) -> None:
        """A clip that failed. One with an old output that stays keeps its row in the manifest: it isn't `tried`.

        Raises OutputError where the disk is full, for then all others would fail too.
        """
        self.counts.failed += 1
        if self.first_error is None:
            self.first_error = row["error"]
        self._failures.append(row)
        if tried:
            self.manifest.append(row)
        else:
            self._refused.append(row)
        self._has_changed = True
        self.log(f"failed {row['relative']}: {row['error']}")
        self.progress.row(row)
        if shutil.disk_usage(self._out).free < _LEAST_SPACE:
            raise OutputError(f"{self._out}: the disk is full", "make room, and run the same command again")

    def _merge_shards(self) -> None:
        """Takes the rows of shards' manifests over. Raises OutputError while one of them is still written to."""
        for path in sorted(self._out.glob("manifest-*-of-*.jsonl")):
            with Manifest(path) as shard:
                WorkFolder(self._out, shard).remove()
                self.manifest.take_over(shard)
            path.with_name(path.name.replace("manifest", "failed", 1)).unlink(missing_ok=True)
            self._has_changed = True
            self.log(f"took over {path.name}")

    def settle(self) -> Path | None:
        """Leaves one row a clip, and the list of those that failed; gives its path, or None where none did."""
        if not self._has_changed:
            return self._failures.path if self._failures.path.exists() else None
        self.manifest.sync()
        there_are = self._failures.replace(self._failed_rows(), self.work.path / "failed.jsonl")
        if self.manifest.replaced or self.manifest.unreadable:
            self.manifest.compact(self.work.path / "manifest.jsonl")
        if self.store is not None:
            self._send_all(self.store)
        counts = self.counts
        self.log(f"ended: {counts.done} done, {counts.skipped} skipped, {counts.failed} failed")
        return self._failures.path if there_are else None

    def _send(self, store: Store, name: str) -> None:
        """Has the store hold what a file is now."""
        self._sent = time.monotonic()
        store.put(self._out / name, name, overwrite=True)

    def _send_all(self, store: Store) -> None:
        manifest, failures = self._names
        self._send(store, manifest)
        if (self._out / failures).exists():
            self._send(store, failures)
        else:
            store.remove(failures)
        for name in self._merged:
            store.remove(name)
            store.remove(name.replace("manifest", "failed", 1))

    def _failed_rows(self) -> Iterator[Row]:
        yield from (row for row in self.manifest.rows() if row.get("status") == "failed")
        if self._refused.path.exists():
            yield from read_manifest(self._refused.path)
