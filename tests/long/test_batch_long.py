"""Two thousand clips, some of them broken: killed twenty times and resumed; memory of a long run."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from batch_runs import command, looks, names_below, rows_of, rows_so_far, start, values_of
from media import numbered, write_frames

pytestmark = pytest.mark.long

CLIPS, BROKEN_EVERY, KILLS = 2000, 97, 20
LENGTHS = (9, 12, 17, 25, 33)
GROWTH = 1.05

ENCODE = ("encode", "--model", "tiny", "-r")


def write_clip(path: Path, number: int) -> None:
    """No two clips are alike: each starts at a number of its own. Some are cut off, some are no video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = LENGTHS[number % len(LENGTHS)]
    write_frames(path, (numbered([n], 64, 48)[0] for n in range(number % 2000, number % 2000 + frames)))
    if number % BROKEN_EVERY == 0:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 6 // 10] if number % 2 else b"no video")


def resident(process: int | None) -> int:
    """Bytes; 0 for a process that has gone."""
    try:
        return int(Path(f"/proc/{process}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A folder with the clips and what a run makes of them; over time, rows, and bytes of supervisor and worker."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(CLIPS):
        write_clip(folder / "clips" / f"{number % 7}" / f"{number:04}.mkv", number)
    process = start(folder, *ENCODE, folder / "clips", "--out-dir", folder / "reference")
    seen = [
        (rows_so_far(folder / "reference"), resident(process.pid), resident(worker))
        for worker in looks(process, pause=0.5, patience=3600)
    ]
    assert process.returncode == 1
    return folder, np.array(seen)


def test_two_thousand_clips_killed_twenty_times_end_as_if_undisturbed(undisturbed, tmp_path):
    folder, _ = undisturbed
    chance, out = random.Random(20), tmp_path / "out"
    arguments = [*ENCODE, folder / "clips", "--out-dir", out]
    for kill in range(KILLS):
        process = start(tmp_path, *arguments)
        for _ in looks(process, patience=3600):
            if rows_so_far(out) >= (kill + chance.random()) * CLIPS / (KILLS + 1):
                break
        time.sleep(chance.random())
        process.kill()
        assert process.wait() != 1
    assert subprocess.run(command(*arguments, "-q"), check=False).returncode == 1
    assert values_of(out) == values_of(folder / "reference")
    assert names_below(out) == names_below(folder / "reference")
    bad = set(range(0, CLIPS, BROKEN_EVERY))
    rows = rows_of(out)
    assert {int(Path(name).stem) for name, row in rows.items() if row["status"] == "failed"} == bad
    assert len(rows) == CLIPS
    assert len((out / "failed.jsonl").read_text().splitlines()) == len(bad)


def test_memory_is_flat_over_two_thousand_clips(undisturbed):
    _, seen = undisturbed
    done, supervisor, worker = seen.T
    for what, size in (("supervisor", supervisor), ("worker", worker)):
        early = np.median(size[(done > CLIPS * 0.1) & (done < CLIPS * 0.3)])
        late = np.median(size[(done > CLIPS * 0.8) & (done < CLIPS)])
        assert late <= early * GROWTH, f"{what}: {early / 1e6:.0f} MB early, {late / 1e6:.0f} MB late"
