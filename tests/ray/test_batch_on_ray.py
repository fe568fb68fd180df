"""A batch on a real Ray cluster of three nodes: as without Ray, whatever becomes of its actors and nodes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
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
from ray_cluster import descendants, ray_cluster

pytestmark = pytest.mark.ray

GOOD = {f"{'ab'[n % 2]}/{n:02}.mp4": 9 for n in range(24)}
BAD = ("a/bad.mp4", "b/worse.mp4")
ENCODE = ("encode", "--model", "tiny", "-r")


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory):
    """Ray calls nobody; temporary files are where they can be counted."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_raylet_start_wait_time_s", "60")
    with tempfile.TemporaryDirectory(prefix="cv-", dir="/tmp") as folder:  # the names of Ray's sockets are long
        patch.setenv("TMPDIR", folder)
        yield
    patch.undo()


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Good clips and two bad ones, and in `reference` what an undisturbed run without Ray makes of them."""
    folder = tmp_path_factory.mktemp("ray")
    write_clips(folder / "clips", GOOD)
    for name in BAD:
        (folder / "clips" / name).write_bytes(b"no video")
    done = subprocess.run(command(*ENCODE, folder / "clips", "--out-dir", folder / "reference", "-q"), check=False)
    assert done.returncode == 1
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three nodes; the last test has one of them removed."""
    with ray_cluster(3, tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


def assert_as_undisturbed(out: Path, clips: Path) -> None:
    """Every good clip has one output with the right values, each bad one a row; nothing else is there."""
    assert values_of(out) == values_of(clips / "reference")
    assert names_below(out) == names_below(clips / "reference")
    rows, wanted = rows_of(out), rows_of(clips / "reference")
    assert {name: row["status"] for name, row in rows.items()} == {name: row["status"] for name, row in wanted.items()}
    assert rows.keys() == {f"{name.removesuffix('.mp4')}.npz" for name in (*GOOD, *BAD)}
    assert all(row.keys() == wanted[name].keys() for name, row in rows.items())
    assert len((out / "failed.jsonl").read_text().splitlines()) == len(BAD)
    assert not list(Path(os.environ["TMPDIR"]).glob(".cogvae-*"))


def test_a_batch_on_ray_that_is_told_to_stop_stops_and_the_same_command_goes_on(clips, cluster, tmp_path):
    out = tmp_path / "out"
    arguments = [*ENCODE, clips / "clips", "--out-dir", out, "--ray", cluster.address]
    process = start(tmp_path, *arguments)
    next(None for _ in looks(process) if rows_so_far(out) >= 5)
    send(signal.SIGTERM, process.pid)
    assert process.wait(10) == 143
    assert not [name for name in names_below(out) if Path(name).name.startswith(".")]
    assert 4 <= len(values_of(out)) < len(GOOD)
    assert subprocess.run(command(*arguments, "-q"), check=False).returncode == 1
    assert_as_undisturbed(out, clips)


def test_clips_that_kill_or_hang_their_worker_are_given_up_on_ray_too(cluster, tmp_path):
    folder, out = tmp_path / "clips", tmp_path / "out"
    write_clips(folder, {"0.mp4": 9, "1-deadly.mp4": 2000, "2.mp4": 9, "3-endless.mp4": 9, "4.mp4": 9})
    with (folder / "3-endless.mp4").open("r+b") as file:
        file.truncate(2**40)
    process = start(tmp_path, *ENCODE, folder, "--out-dir", out, "--timeout", "12", "--ray", cluster.address)
    killed = set()
    for _ in looks(process, pause=0.02):
        for worker in descendants(cluster.pid):
            if worker not in killed and has_open(worker, "1-deadly.mp4"):
                send(signal.SIGKILL, worker)
                killed.add(worker)
    assert process.returncode == 1
    assert killed
    rows = rows_of(out)
    assert {name for name, row in rows.items() if row["status"] == "done"} == {"0.npz", "2.npz", "4.npz"}
    assert "was killed by SIGKILL on this clip, 2 times" in rows["1-deadly.npz"]["error"]
    assert "made no progress for 12 s on this clip, 2 times" in rows["3-endless.npz"]["error"]
    assert names_below(out) == {"manifest.jsonl", "failed.jsonl", *values_of(out)}


def test_without_an_address_ray_finds_a_cluster_or_takes_this_machine(clips, tmp_path):
    out = tmp_path / "videos"
    latents = random.Random(20).sample(sorted((clips / "reference").rglob("*.npz")), 2)
    done = subprocess.run(
        command("decode", *latents, "--out-dir", out, "--format", "mkv", "--ray", "--ray-workers", "1"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in out.glob("*.mkv")} == {f"{path.stem}.mkv" for path in latents}


def test_the_example_runs_as_a_job(clips, cluster, tmp_path, root):
    videos = tmp_path / "videos"
    write_clips(videos, {"a.mp4": 9, "b/c.mp4": 9})
    done = subprocess.run(
        [sys.executable, root / "examples" / "ray_batch.py", videos, tmp_path / "latents", "tiny"],
        env=os.environ | {"RAY_ADDRESS": cluster.address},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 encoded, 0 were there, 0 failed" in done.stdout
    assert {path.name for path in (tmp_path / "latents").rglob("*.npz")} == {"a.npz", "c.npz"}


def test_an_actor_that_is_killed_and_a_node_that_is_removed_cost_no_clip(clips, cluster, tmp_path):
    out = tmp_path / "out"
    process = start(tmp_path, *ENCODE, clips / "clips", "--out-dir", out, "--ray", cluster.address)
    seen, steps = 0, [cluster.kill_actor, cluster.remove_node]
    for _ in looks(process):
        if len(steps) == 2:  # later one that dies and one in its place may both be there
            seen = max(seen, len(cluster.actors()))
        if steps and seen == 3 and rows_so_far(out) >= 4 + 6 * (2 - len(steps)):
            steps.pop(0)()
    assert process.returncode == 1, (tmp_path / "stderr").read_text()
    assert seen == 3
    assert not steps
    assert_as_undisturbed(out, clips)
    assert "an actor died" in (tmp_path / "stderr").read_text()
    assert not cluster.actors()
