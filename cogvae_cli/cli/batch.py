"""Many clips at once: the options that `encode` and `decode` share for it, its bars and its summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from cogvae_cli.cli.ray_address import RAY_ALONE
from cogvae_cli.cli.terminal import print_dry_run, print_json, print_lines, table
from cogvae_cli.errors import UsageError
from cogvae_cli.pipeline.batch_progress import BatchProgress

if TYPE_CHECKING:
    from cogvae_cli.pipeline.batch import BatchJob
    from cogvae_cli.pipeline.batch_options import BatchOptions, RayOptions
    from cogvae_cli.pipeline.batch_result import BatchResult

_MANY = "Many clips"
_EVERY = 30.0  # seconds between two lines about the progress, where there is no terminal
_FAULTS = 20  # failures that are told one by one

OutDir = Annotated[
    str | None,
    typer.Option(
        "--out-dir",
        metavar="DIR",
        rich_help_panel=_MANY,
        help="Write an output for every input below this folder or URL, which mirrors the tree of the inputs.",
    ),
]

Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", rich_help_panel=_MANY, help="Look into the folders below a folder, too.")
]

Root = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="DIR",
        rich_help_panel=_MANY,
        help="What paths in lists and tables start from, and outputs mirror. Default: the folder of the list.",
    ),
]

PathColumn = Annotated[
    str | None,
    typer.Option("--path-column", metavar="NAME", rich_help_panel=_MANY, help="The column of a table with the paths."),
]

SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        rich_help_panel=_MANY,
        help="Make outputs anew that aren't whole, or of another source, model or other settings; keep the others.",
    ),
]

VerifyExisting = Annotated[
    bool,
    typer.Option(
        "--verify-existing",
        rich_help_panel=_MANY,
        help="Read sources and outputs that are there, however unchanged they look.",
    ),
]

FailFast = Annotated[
    bool, typer.Option("--fail-fast", rich_help_panel=_MANY, help="End with the first clip that fails.")
]

Timeout = Annotated[
    float,
    typer.Option(
        "--timeout", metavar="SECONDS", rich_help_panel=_MANY, help="Give up a clip that makes no progress for so long."
    ),
]

LogFile = Annotated[
    Path | None,
    typer.Option("--log-file", metavar="FILE", rich_help_panel=_MANY, help="Append a line an event, with its time."),
]

Shards = Annotated[
    str | None,
    typer.Option(
        "--shards",
        metavar="COUNT|SIZE",
        rich_help_panel=_MANY,
        help="Write tar files for WebDataset, of at most so many clips or bytes (1000, 500MB, 1GB), not a file a clip.",
    ),
]

Flip = Annotated[
    bool,
    typer.Option(
        "--flip", rich_help_panel=_MANY, help="Give each clip a second output, NAME-flip, of its mirror image."
    ),
]

BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size", min=1, metavar="N", rich_help_panel=_MANY, help="Encode N clips of one size together."
    ),
]

ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        rich_help_panel=_MANY,
        help="Take one of N parts of the clips, I from 0 to N-1, by a hash of their paths.",
    ),
]

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        rich_help_panel=_MANY,
        help="Make the clips on a Ray cluster: HOST:PORT, auto for the one that this machine belongs to. Without an "
        "address: RAY_ADDRESS, else a running one, else this machine by itself.",
    ),
]

RayWorkers = Annotated[
    int | None,
    typer.Option(
        "--ray-workers",
        metavar="N",
        rich_help_panel=_MANY,
        help="Actors of the Ray cluster. Default: as many as it has devices for.",
    ),
]


@dataclass(frozen=True)
class Many:
    """What was asked for in the panel of many clips."""

    out_dir: str | None
    recursive: bool
    root: str | None
    path_column: str | None
    skip_existing: bool
    verify_existing: bool
    fail_fast: bool
    timeout: float
    log_file: Path | None
    shard: str | None
    shards: str | None = None
    flip: bool = False
    ray: str | None = None
    ray_workers: int | None = None
    batch_size: int = 1

    def options(self, *, overwrite: bool) -> BatchOptions:
        """The batch's options. Raises UsageError."""
        from cogvae_cli.pipeline.batch_options import BatchOptions, ShardLimit
        from cogvae_cli.pipeline.batch_plan import Shard

        if overwrite and self.skip_existing:
            raise UsageError("-y makes every output anew, and --skip-existing keeps some", "leave one of them out")
        return BatchOptions(
            recursive=self.recursive,
            root=self.root,
            path_column=self.path_column,
            existing="overwrite" if overwrite else "skip" if self.skip_existing else "resume",
            verify=self.verify_existing,
            fail_fast=self.fail_fast,
            timeout=self.timeout,
            log_file=self.log_file,
            shard=None if self.shard is None else Shard.parse(self.shard),
            flip=self.flip,
            shards=None if self.shards is None else ShardLimit.parse(self.shards),
            ray=self._ray(),
            batch_size=self.batch_size,
        )

    def _ray(self) -> RayOptions | None:
        from cogvae_cli.pipeline.batch_options import RayOptions

        if self.ray is None:
            if self.ray_workers is not None:
                raise UsageError("--ray-workers is for a Ray cluster", "give --ray too")
            return None
        return RayOptions(None if self.ray == RAY_ALONE else self.ray, self.ray_workers)


def only_one(sources: Sequence[str], output: Path | None, many: Many) -> tuple[Path, Path]:
    """The source and the output of a command about one clip. Raises UsageError for what belongs to many."""
    if output is None:
        raise UsageError("neither --output nor --out-dir is given", "-o FILE is for one clip, --out-dir DIR for many")
    if len(sources) > 1:
        raise UsageError(f"{len(sources)} inputs can't become one output, {output}", "give --out-dir DIR instead of -o")
    asked = {
        "--recursive": many.recursive,
        "--root": many.root,
        "--path-column": many.path_column,
        "--skip-existing": many.skip_existing,
        "--verify-existing": many.verify_existing,
        "--fail-fast": many.fail_fast,
        "--log-file": many.log_file,
        "--shard": many.shard,
        "--shards": many.shards,
        "--flip": many.flip,
        "--ray": many.ray,
        "--ray-workers": many.ray_workers,
        "--batch-size": many.batch_size > 1,
    }
    wrong = next((name for name, value in asked.items() if value), None)
    if wrong is not None:
        raise UsageError(f"{wrong} is for many clips", "give --out-dir DIR instead of -o")
    return Path(sources[0]), output


def run(job: BatchJob, output: Path | None, *, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Runs a batch and prints what became of it, or what would. Raises CogvaeError if a clip failed."""
    from cogvae_cli.pipeline.batch import run_batch

    if output is not None:
        raise UsageError("-o names one output, and --out-dir a folder for many", "leave one of them out")
    if dry_run:
        from cogvae_cli.pipeline.batch_dry_run import plan_batch

        print_dry_run(plan_batch(job), as_json=as_json)
        return
    result = run_batch(job, TerminalBatch(quiet=quiet, as_json=as_json))
    if as_json:
        print_json(result.as_dict())
    else:
        print_lines(_lines(result))
    result.check()


def _lines(result: BatchResult) -> list[str]:
    counts = result.counts
    made = "encoded" if result.kind == "encode" else "decoded"
    clips = f"{counts.done} {made}, {counts.skipped} were there already, {counts.failed} failed"
    rows = [
        ("clips", f"{clips}, of {result.clips}"),
        ("frames", f"{counts.frames} in {result.seconds:.1f} s"),
        ("manifest", str(result.manifest)),
    ]
    if counts.restarts:
        rows.append(("restarts", f"{counts.restarts} of the process that computes"))
    if result.failures is not None:
        rows.append(("failed", str(result.failures)))
    return table(rows)


class TerminalBatch(BatchProgress):
    """A bar of clips and a bar of the clip that computes; lines where there is no terminal. JSON Lines on stdout."""

    def __init__(self, *, quiet: bool, as_json: bool, stream: TextIO | None = None) -> None:
        self._quiet, self._as_json = quiet, as_json
        self._stream = stream if stream is not None else sys.stderr
        self._bar: Any = None
        self._clip_bar: Any = None
        self._clip = ""
        self._done = self._failed = self._total = 0
        self._told = time.monotonic()

    def phase(self, name: str) -> None:
        self._say(name)

    def begin(self, total: int) -> None:
        self._total = total
        if self._quiet or not self._stream.isatty():
            self._say(f"{total} clips")
            return
        from tqdm import tqdm

        self._bar = tqdm(total=total, unit=" clips", file=self._stream, dynamic_ncols=True, leave=False, smoothing=0.05)
        self._clip_bar = tqdm(unit=" frames", file=self._stream, dynamic_ncols=True, leave=False, position=1)

    def grow(self, count: int) -> None:
        self._total += count
        if self._bar is not None:
            self._bar.total = self._total

    def clip(self, name: str, done: int, total: int | None) -> None:
        bar = self._clip_bar
        if bar is None:
            return
        if name != self._clip:
            self._clip = name
            bar.set_description_str(name[-40:])
            bar.reset(total)
        bar.total = total
        bar.update(done - bar.n)

    def row(self, row: Mapping[str, Any]) -> None:
        self._done += 1
        if self._as_json:
            print_json(row)
        if self._bar is not None:
            self._bar.update(1)
        if row["status"] == "failed":
            self._failed += 1
            if self._failed <= _FAULTS:
                self._say(f"failed: {' '.join(str(row['error']).split())}")
            elif self._failed == _FAULTS + 1:
                self._say("failed: more; they are in the list of failures")
        elif self._bar is None and time.monotonic() - self._told > _EVERY:
            self._told = time.monotonic()
            self._say(f"{self._done} of {self._total} clips, {self._failed} failed")

    def notice(self, text: str) -> None:
        self._say(f"notice: {text}")

    def end(self) -> None:
        for bar in (self._clip_bar, self._bar):
            if bar is not None:
                bar.close()
        self._bar = self._clip_bar = None

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)
