"""Broken files by the hundred: every reader reads them or refuses them, cleanly, soon and within memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def fuzz(root: Path, inputs: int, seed: int) -> None:
    command = [sys.executable, str(root / "tools" / "fuzz.py"), "--inputs", str(inputs), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{inputs} inputs" in done.stdout


def test_500_broken_files_end_cleanly(root):
    fuzz(root, 500, 1)


@pytest.mark.long
def test_20000_broken_files_end_cleanly(root):
    fuzz(root, 20_000, 2)
