"""The fenced blocks of README.md and docs/*.md: which there are, and what runs each of them.

A block of sh or python is run as it stands, line by line, by `pytest -m docs`. Unless a mark in front of it says else:

    <!-- run: long -->          by `pytest -m long`
    <!-- needs: torch -->       by `pytest -m parity`, whose extra has torch and diffusers
    <!-- needs: libtpu -->      by `pytest -m tpu`, whose extra has libtpu (not by .ci/run: minutes)
    <!-- needs: Ray -->         by `pytest -m ray`, whose extra has Ray
    <!-- needs: a network -->   by nobody; so are a TPU, a GPU, a cluster and the others of NOBODY

One line of sh carries the same words in its comment: `cogvae verify  # needs torch and diffusers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUNNERS = {"torch": "parity", "torch and diffusers": "parity", "libtpu": "tpu", "Ray": "ray"}
"""Marks of the tests that have what a block needs."""
NOBODY = {"a TPU", "a GPU", "a network", "a cluster", "a builder of images", "grain", "the training media"}
"""What no test has."""
NOT_RUN = {"json", "text", "yaml"}
"""Languages that show something. Those of RUN are commands."""
RUN = {"sh", "python"}

_MARK = re.compile(r"<!-- (run|needs): (.+) -->")
_COMMENT = re.compile(r"#.*\bneeds (.+)$")


@dataclass(frozen=True)
class Step:
    """What is run at once: a command of sh with its continued lines, or a whole block of python."""

    text: str
    runner: str
    """`default`, a mark of pytest, or `nobody`."""


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    """Of the fence, from 1."""
    language: str
    text: str
    mark: str
    """`run: long`, `needs: …`, or nothing."""

    @property
    def name(self) -> str:
        """For messages and for pytest."""
        return f"{self.page}:{self.line}"

    @property
    def steps(self) -> list[Step]:
        """In their order. Raises ValueError for a mark that isn't known."""
        if self.language not in RUN:
            return []
        runner = runner_of(self.mark)
        if self.language == "python":
            return [Step(self.text, runner)]
        joined = self.text.replace("\\\n", "")
        lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        return [Step(line, runner_of_line(line, runner)) for line in lines]

    def has(self, runner: str) -> bool:
        """Whether that runner has anything to run in here."""
        return any(step.runner == runner for step in self.steps)


def runner_of(mark: str) -> str:
    """Who runs a block with that mark."""
    kind, _, words = mark.partition(": ")
    if not mark:
        return "default"
    if mark == "run: long":
        return "long"
    if kind == "needs" and words in RUNNERS:
        return RUNNERS[words]
    if kind == "needs" and words in NOBODY:
        return "nobody"
    raise ValueError(f"no runner for '{mark}'")


def runner_of_line(line: str, otherwise: str) -> str:
    """Who runs a line: its comment says, if it has one that does."""
    found = _COMMENT.search(line)
    return runner_of(f"needs: {found[1].strip()}") if found else otherwise


def pages(root: Path) -> list[Path]:
    """README.md and the pages of docs/."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def blocks(root: Path) -> Iterator[Block]:
    """Every fenced block of every page. Raises ValueError for a fence that is never closed."""
    for page in pages(root):
        lines = page.read_text(encoding="utf-8").splitlines()
        name = page.relative_to(root).as_posix()
        start = None
        for number, line in enumerate(lines, 1):
            if not line.lstrip().startswith("```"):
                continue
            if start is None:
                start = number
                continue
            before = lines[start - 2] if start > 1 else ""
            mark = _MARK.fullmatch(before.strip())
            text = "\n".join(lines[start : number - 1])
            language = lines[start - 1].strip().removeprefix("```").strip()
            yield Block(name, start, language, text, f"{mark[1]}: {mark[2]}" if mark else "")
            start = None
        if start is not None:
            raise ValueError(f"{name}:{start}: this block never ends")
