"""Batches as tests run them: small clips, the command with --json, and what it left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from media import write_numbered

from cogvae_cli.io.latents import read_latents
from cogvae_cli.io.manifest import read_manifest

SIZE = (64, 48)
PATIENCE = 400.0


def write_clips(folder: Path, lengths: dict[str, int]) -> Path:
    """Videos whose frames show where they are, by name and count of frames; no two are alike."""
    for number, (name, frames) in enumerate(lengths.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_numbered(path, frames, SIZE, 20 + number)
    return folder


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "cogvae_cli", *map(str, arguments)]


def start(folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    """A batch as a process of its own, in a folder; stdout and stderr go to files."""
    with (folder / "stdout").open("w") as out, (folder / "stderr").open("w") as err:
        return subprocess.Popen(command(*arguments), cwd=folder, stdout=out, stderr=err, text=True)


def rows_so_far(out: Path) -> int:
    """Lines of the manifest, whether they are whole or not."""
    try:
        return (out / "manifest.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def worker_of(supervisor: int) -> int | None:
    """The process that computes for a batch, once there is one."""
    try:
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def has_open(process: int, name: str) -> bool:
    """Whether a process has a file of that name open."""
    try:
        links = list(Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False
    return any(target_of(link) == name for link in links)


def target_of(link: Path) -> str | None:
    """The name of what a link leads to; None where it has just gone."""
    try:
        return link.readlink().name
    except OSError:
        return None


def send(number: signal.Signals, process: int) -> None:
    """Sends a signal to a process that may have gone."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


def looks(process: subprocess.Popen[str], pause: float = 0.005, patience: float = PATIENCE) -> Iterator[int | None]:
    """The worker, again and again until the batch has ended."""
    deadline = time.monotonic() + patience
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError("the batch doesn't end")
        yield worker_of(process.pid)
        time.sleep(pause)


def rows_of(out: Path) -> dict[str, dict]:
    """The manifest's rows by output; there is one of each."""
    rows = list(read_manifest(out / "manifest.jsonl"))
    assert len({row["output"] for row in rows}) == len(rows)
    return {row["output"]: row for row in rows}


def values_of(out: Path) -> dict[str, str]:
    """sha256 of the values of every latents file below a folder, each of which is whole."""
    return {str(path.relative_to(out)): read_latents(path).sha256 for path in sorted(out.rglob("*.npz"))}


def names_below(folder: Path) -> set[str]:
    """All files and folders, hidden ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def json_lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]
