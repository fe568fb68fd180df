"""Every command in report.md, terminal.md and performance.md of docs/ runs as it stands, and ends as the text says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from media import write_numbered

ENDS = {"doctor": (0, 1), "--min-psnr 30 --min-ssim 0.9": (0, 5)}
"""Commands that may end otherwise than well: with a fault of the machine, or a gate that the built-in model misses."""


def commands() -> list[tuple[str, str]]:
    """Each line of the fenced blocks, with the file it stands in."""
    root = Path(__file__).resolve().parent.parent
    found = []
    for name in ("report.md", "terminal.md", "performance.md"):
        blocks = re.findall(r"```sh\n(.*?)```", (root / "docs" / name).read_text(), re.DOTALL)
        found += [(name, line.split("#")[0].strip()) for block in blocks for line in block.splitlines()]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the files lie that the commands name."""
    folder = tmp_path_factory.mktemp("docs") / "clips"
    folder.mkdir()
    for name in ("clip.mp4", "back.mp4"):
        write_numbered(folder / name, 9, (64, 48))
    return folder


def test_there_are_commands():
    assert len(commands()) >= 8
    assert all(line.startswith("cogvae ") for _, line in commands())


@pytest.mark.parametrize(("name", "line"), commands())
def test_a_documented_command_runs(name, line, folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    environment = os.environ | {"COGVAE_MODEL": "tiny", "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    environment |= {  # what one command compiled the next one finds
        "JAX_COMPILATION_CACHE_DIR": str(folder.parent / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }
    command = [sys.executable, "-m", "cogvae_cli", *shlex.split(line)[1:]]
    if "--install-completion" in line:  # the shell it is typed in is the one that is served
        command = ["bash", "-c", f"{shlex.join(command)}; exit $?"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    allowed = next((codes for words, codes in ENDS.items() if words in line), (0,))
    assert done.returncode in allowed, done.stderr
    assert done.stdout
    if "--install-completion" in line:
        assert "cogvae" in (tmp_path / ".bashrc").read_text()
