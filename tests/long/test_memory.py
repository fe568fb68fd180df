"""Memory doesn't grow with length: 490 frames of 480x272 peak where 49 do. Each direction in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from media import write_numbered

from cogvae_cli import encode_file

pytestmark = pytest.mark.long

GROWTH = 1.05

MEASURE = """
import json, sys
from pathlib import Path
from cogvae_cli.cli.main import main

def peak():
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again from here
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

def run(source, output):
    where = "--report-out" if sys.argv[1] == "roundtrip" else "-o"
    command = [sys.argv[1], source, where, output, "-q", "-y", "--json"]
    assert main(command + (["--model", "tiny"] if sys.argv[1] != "decode" else [])) == 0

def measured(source, output):
    peak()
    run(source, output)
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

short, long, output = sys.argv[2:]
run(short, output)
run(short, output)
print(json.dumps({"short": measured(short, output), "long": measured(long, output)}))
"""


def peaks(command: str, short: Path, long: Path, output: Path) -> dict[str, int]:
    """Peak resident bytes of a run over each file, after two runs to warm up."""
    arguments = [sys.executable, "-c", MEASURE, command, str(short), str(long), str(output)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> tuple[Path, Path]:
    """Clips of 49 and 490 frames."""
    folder = tmp_path_factory.mktemp("memory")
    short, long = (write_numbered(folder / f"{frames}.mp4", frames, (480, 272)) for frames in (49, 490))
    return short, long


def test_encoding_490_frames_takes_the_memory_of_49(clips, tmp_path):
    output = tmp_path / "z.npz"
    seen = peaks("encode", *clips, output)
    print(seen)  # noqa: T201 - `pytest -rP` shows it
    assert seen["long"] <= seen["short"] * GROWTH + output.stat().st_size, seen  # of the long clip: 16 MB


def test_a_report_of_490_frames_takes_the_memory_of_49(tmp_path):
    """Of smaller frames, for both networks run."""
    clips = [write_numbered(tmp_path / f"{frames}.mp4", frames, (192, 112)) for frames in (49, 490)]
    seen = peaks("roundtrip", *clips, tmp_path / "r.html")
    print(seen)  # noqa: T201 - `pytest -rP` shows it
    assert seen["long"] <= seen["short"] * GROWTH, seen


def test_decoding_490_frames_takes_the_memory_of_49(clips, tmp_path):
    latents = [tmp_path / f"{clip.stem}.npz" for clip in clips]
    for clip, path in zip(clips, latents, strict=True):
        encode_file(clip, path, model="tiny")
    seen = peaks("decode", *latents, tmp_path / "out.mp4")
    print(seen)  # noqa: T201 - `pytest -rP` shows it
    assert seen["long"] <= seen["short"] * GROWTH, seen
