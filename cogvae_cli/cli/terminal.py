"""What a run says: results on stdout; progress and notices on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from cogvae_cli.cli.interrupts import raise_unheard
from cogvae_cli.pipeline.progress import Progress

if TYPE_CHECKING:
    from cogvae_cli.pipeline.dry_run import DryRun


def print_json(values: Mapping[str, Any]) -> None:
    """One object on one line of stdout."""
    print(json.dumps(values, allow_nan=False), flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Text on stdout."""
    print("\n".join(lines), flush=True)


def table(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Names and values as lines, the values in one column."""
    pairs = list(rows)
    width = max((len(name) for name, _ in pairs), default=0)
    return [f"{name:<{width}}  {value}" for name, value in pairs]


def print_dry_run(run: DryRun, *, as_json: bool) -> None:
    """What would be done, on stdout."""
    if as_json:
        print_json(run.as_dict())
    else:
        print_lines(["dry run: nothing is written", *table(run.rows())])


def bytes_text(count: int) -> str:
    """`812 B`, `13.4 kB`, `1.7 MB`: powers of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def speed_text(frames_per_second: float, compile_seconds: float) -> str:
    """`12.3 frames/s after 4.5 s of compiling`."""
    return f"{frames_per_second:.1f} frames/s after {compile_seconds:.1f} s of compiling"


class TerminalProgress(Progress):
    """Progress on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet.

    The bar shows frames, frames a second without the time of compiling, and the time left.
    """

    def __init__(self, *, quiet: bool, stream: TextIO | None = None) -> None:
        self._quiet = quiet
        self._stream = stream if stream is not None else sys.stderr
        self._bar: Any = None

    def phase(self, name: str) -> None:
        if self._bar is not None:
            self._bar.unpause()
            self._bar.set_description_str(name.split()[0])
        if self._bar is None or " " in name:
            self._say(name)

    def begin(self, total: int | None, unit: str = "frames") -> None:
        if self._quiet or not self._stream.isatty():
            return
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            unit=f" {unit}",
            file=self._stream,
            dynamic_ncols=True,
            leave=False,
            miniters=1,  # else, after a first chunk of 9 frames, tqdm waits for 9 more, and chunks have 8
        )

    def advance(self, count: int) -> None:
        raise_unheard()
        if self._bar is not None:
            self._bar.update(count)

    def notice(self, text: str) -> None:
        self._say(f"notice: {text}")

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _say(self, line: str) -> None:
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)
