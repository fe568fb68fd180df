"""A batch that is killed, stopped or given poison: nothing is lost, nothing is half, and it goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from batch_runs import (
    PATIENCE,
    command,
    has_open,
    looks,
    names_below,
    rows_of,
    rows_so_far,
    send,
    start,
    values_of,
    write_clips,
)

pytestmark = pytest.mark.processes

GOOD = {f"{'ab'[n % 2]}/{n:02}.mp4": 9 for n in range(12)}
BAD = "a/bad.mp4"
KILLS = 3


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Twelve good clips and a bad one, and in `reference` what an undisturbed run makes of them."""
    folder = tmp_path_factory.mktemp("kills")
    write_clips(folder / "clips", GOOD)
    (folder / "clips" / BAD).write_bytes(b"no video")
    done = subprocess.run(command(*ENCODE, folder / "clips", "--out-dir", folder / "reference", "-q"), check=False)
    assert done.returncode == 1
    return folder


ENCODE = ("encode", "--model", "tiny", "-r")


def assert_as_undisturbed(out: Path, clips: Path) -> None:
    """Every good clip has one output with the right values, the bad one a row; nothing else is there."""
    assert values_of(out) == values_of(clips / "reference")
    assert names_below(out) == names_below(clips / "reference")
    rows = rows_of(out)
    assert {name for name, row in rows.items() if row["status"] == "failed"} == {"a/bad.npz"}
    assert {name for name, row in rows.items() if row["status"] == "done"} == set(values_of(out))
    failures = (out / "failed.jsonl").read_text().splitlines()
    assert len(failures) == 1


def test_killed_again_and_again_and_resumed_it_ends_as_if_undisturbed(clips, tmp_path):
    chance = random.Random(20)
    out = tmp_path / "out"
    arguments = [*ENCODE, clips / "clips", "--out-dir", out]
    for _ in range(KILLS):
        enough = rows_so_far(out) + chance.randrange(3)
        process = start(tmp_path, *arguments)
        for _ in looks(process):
            if rows_so_far(out) >= enough:
                break
        time.sleep(chance.random() / 5)
        process.kill()
        process.wait()
    assert subprocess.run(command(*arguments, "-q"), check=False).returncode == 1
    assert_as_undisturbed(out, clips)


def test_a_worker_that_is_killed_from_outside_costs_no_clip(clips, tmp_path):
    out = tmp_path / "out"
    process = start(tmp_path, *ENCODE, clips / "clips", "--out-dir", out)
    for worker in looks(process):
        if worker is not None and rows_so_far(out) >= 3:
            send(signal.SIGKILL, worker)
            break
    assert process.wait(PATIENCE) == 1
    assert_as_undisturbed(out, clips)
    assert "the worker was killed by SIGKILL; another one goes on" in (tmp_path / "stderr").read_text()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_batch_that_is_told_to_stop_stops_at_once_and_the_same_command_goes_on(number, code, clips, tmp_path):
    out = tmp_path / "out"
    arguments = [*ENCODE, clips / "clips", "--out-dir", out, "--log-file", tmp_path / "log"]
    process = start(tmp_path, *arguments)
    worker = next(worker for worker in looks(process) if rows_so_far(out) >= 3)
    send(number, process.pid)
    assert process.wait(10) == code
    assert (tmp_path / "stderr").read_text().splitlines()[
        -1
    ] == f"error: {'terminated' if code == 143 else 'interrupted'}"
    assert not Path(f"/proc/{worker}").exists()
    assert not [name for name in names_below(out) if Path(name).name.startswith(".")]
    assert 2 <= len(values_of(out)) <= 12
    if code == 130:
        return  # going on is the same
    assert subprocess.run(command(*arguments, "-q"), check=False).returncode == 1
    assert_as_undisturbed(out, clips)
    log = (tmp_path / "log").read_text()
    assert 11 <= log.count(" done ") <= 12  # it may have been stopped between a row and its line
    assert log.count(" ended") == 2


@pytest.mark.long
def test_clips_that_kill_or_hang_their_worker_are_given_up_and_the_others_are_made(clips, tmp_path):
    """One is killed for whenever it opens the file; the other's file has a hole that takes minutes to read."""
    folder, out = tmp_path / "clips", tmp_path / "out"
    write_clips(folder, {"0.mp4": 9, "1-deadly.mp4": 2000, "2.mp4": 9, "3-endless.mp4": 9, "4.mp4": 9, "5.mp4": 9})
    with (folder / "3-endless.mp4").open("r+b") as file:
        file.truncate(2**40)
    process = start(tmp_path, *ENCODE, folder, "--out-dir", out, "--timeout", "4")
    killed = set()
    for worker in looks(process):
        if worker is not None and worker not in killed and has_open(worker, "1-deadly.mp4"):
            send(signal.SIGKILL, worker)
            killed.add(worker)
    assert process.returncode == 1
    rows = rows_of(out)
    assert {name for name, row in rows.items() if row["status"] == "done"} == {"0.npz", "2.npz", "4.npz", "5.npz"}
    assert 2 <= len(killed) <= 3  # alone twice; before, the other one may have taken it along
    assert "was killed by SIGKILL on this clip, 2 times" in rows["1-deadly.npz"]["error"]
    assert "made no progress for 4 s on this clip, 2 times" in rows["3-endless.npz"]["error"]
    assert names_below(out) == {"manifest.jsonl", "failed.jsonl", *values_of(out)}


def is_at_a_clip(worker: int) -> bool:
    return any(has_open(worker, Path(name).name) for name in GOOD)


def test_a_worker_that_stands_still_is_replaced(clips, tmp_path):
    for attempt in range(5):  # a busy machine may let the batch end before it is stopped
        out = tmp_path / str(attempt)
        process = start(tmp_path, *ENCODE, clips / "clips", "--out-dir", out, "--timeout", "4")
        stopped = None
        for worker in looks(process):
            if worker is not None and stopped is None and (rows_so_far(out) or is_at_a_clip(worker)):
                send(signal.SIGSTOP, worker)
                stopped = worker
        assert process.returncode == 1
        assert_as_undisturbed(out, clips)
        told = (tmp_path / "stderr").read_text()
        if "gave no sign of life" in told:
            break
    assert "gave no sign of life for 4 s" in told
    assert not Path(f"/proc/{stopped}").exists()


def test_the_worker_dies_with_its_supervisor(clips, tmp_path):
    process = start(tmp_path, *ENCODE, clips / "clips", "--out-dir", tmp_path / "out")
    worker = next(one for one in looks(process) if one is not None and rows_so_far(tmp_path / "out"))
    send(signal.SIGSTOP, worker)  # one that hangs can't see for itself that nobody is there
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while worker_is_alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def worker_is_alive(worker: int) -> bool:
    try:
        return Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
