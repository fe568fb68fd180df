"""Ctrl-C and SIGTERM in mid-run: the exit code says so, nothing partial is left, the old output is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
from media import write_numbered

PATIENCE = 120.0


def start(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    """A command whose stderr goes to a file, so that nothing blocks."""
    with (folder / "stderr").open("w") as stderr:
        return subprocess.Popen([sys.executable, "-m", "cogvae_cli", *arguments], stderr=stderr, cwd=folder, text=True)


def wait_until_it_encodes(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while "encoding" not in (folder / "stderr").read_text().splitlines():
        assert process.poll() is None, (folder / "stderr").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_mid_run_leaves_nothing_partial(number, code, tmp_path):
    write_numbered(tmp_path / "in.mp4", 2000, (64, 48), Fraction(25))
    (tmp_path / "z.npz").write_text("old")
    process = start(["encode", "in.mp4", "-o", "z.npz", "-y", "--model", "tiny"], tmp_path)
    wait_until_it_encodes(tmp_path, process)
    os.kill(process.pid, number)
    assert process.wait(30) == code
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "z.npz", "stderr"}
    assert (tmp_path / "z.npz").read_text() == "old"
    last = (tmp_path / "stderr").read_text().splitlines()[-1]
    assert last == f"error: {'interrupted' if code == 130 else 'terminated'}"
