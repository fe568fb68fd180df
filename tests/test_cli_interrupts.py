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

pytestmark = pytest.mark.processes

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


def working_below(folder: Path) -> list[str]:
    """Processes whose current folder is in there, one that was removed included."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(process / "cwd")  # noqa: PTH115 - a link to what is gone has words after its name
        except OSError:  # it has ended, or is somebody else's
            continue
        if where.startswith(f"{folder}/"):
            found.append(process.name)
    return found


def test_a_signal_in_mid_report_leaves_no_file_no_folder_and_no_ffmpeg(tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    write_numbered(tmp_path / "in.mp4", 2000, (64, 48), Fraction(25))
    process = start(["roundtrip", "in.mp4", "--report", "--model", "tiny"], tmp_path)
    deadline = time.monotonic() + PATIENCE
    while "encoding and decoding" not in (tmp_path / "stderr").read_text().splitlines():
        assert process.poll() is None, (tmp_path / "stderr").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(working_below(temporary)) == 1
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(30) == 130
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "stderr", "tmp"}
    assert list(temporary.iterdir()) == []
    assert working_below(temporary) == []


SWALLOWED = """
import gc, os, signal, sys
from cogvae_cli.cli import terminal
from cogvae_cli.cli.main import main

def collector(phase, info):
    if phase == "start" and wanted:
        os.kill(os.getpid(), wanted.pop())  # raises in here, where Python drops it

wanted = []
gc.callbacks.append(collector)
told = terminal.TerminalProgress.phase

def phase(self, name):
    told(self, name)
    if name == "encoding":
        wanted.append(getattr(signal, sys.argv[1]))
        gc.collect()

terminal.TerminalProgress.phase = phase
sys.exit(main(["encode", "in.mp4", "-o", "z.npz", "--model", "tiny"]))
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_that_comes_while_garbage_is_collected_is_heard_all_the_same(name, code, tmp_path):
    write_numbered(tmp_path / "in.mp4", 100, (64, 48), Fraction(25))
    command = [sys.executable, "-c", SWALLOWED, name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Exception ignored in" in done.stderr  # it really was dropped
    assert done.returncode == code
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4"}
