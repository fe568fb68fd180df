"""Many clips by one command: what is made, what is kept and why, what the manifest says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from batch_runs import command, json_lines, names_below, rows_of, values_of, write_clips
from media import LOSSLESS, write_frames

from cogvae_cli import LatentDataset
from cogvae_cli.cli.main import main
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.latents import read_header

pytestmark = pytest.mark.processes

CLIPS = {"a/one.mp4": 9, "a/two.mp4": 17, "b/one.mkv": 9}
BROKEN = b"this is no video, whatever its name"


class Batch:
    """A folder with clips, and batches over them."""

    def __init__(self, folder: Path, capsys) -> None:
        self.folder, self.out = folder, folder / "out"
        self.clips = folder / "clips"
        self._capsys = capsys

    def run(
        self, *arguments: str, inputs: tuple[str, ...] = ("clips",), url: str | None = None, job: str = "encode"
    ) -> tuple[int, dict]:
        """Exit code, and the JSON lines by output, the summary as `summary`."""
        model = ["--model", "tiny"] if job == "encode" else []
        names = [str(self.folder / name) for name in inputs] if url is None else [url]
        out = [] if "--out-dir" in arguments else ["--out-dir", str(self.out)]
        code = main([job, *names, *out, "-r", *model, "--json", *arguments])
        stdout, self.stderr = self._capsys.readouterr()
        lines = json_lines(stdout)
        return code, {line.get("output", "summary"): line for line in lines}

    def statuses(self, *arguments: str) -> dict[str, str]:
        _, lines = self.run(*arguments)
        return {name: line["status"] for name, line in lines.items() if name != "summary"}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory) -> Path:
    """A folder with clips and what one batch made of them; one of them is broken."""
    folder = tmp_path_factory.mktemp("encoded")
    write_clips(folder / "clips", CLIPS)
    (folder / "clips/b/broken.mp4").write_bytes(BROKEN)
    code = main(["encode", str(folder / "clips"), "-r", "--out-dir", str(folder / "out"), "--model", "tiny", "-q"])
    assert code == 1
    return folder


@pytest.fixture
def batch(encoded, tmp_path, capsys) -> Batch:
    """The batch that `encoded` ran, in a folder of its own."""
    shutil.copytree(encoded, tmp_path / "job")  # with the time stamps
    manifest = tmp_path / "job/out/manifest.jsonl"
    manifest.write_text(manifest.read_text().replace(str(encoded), str(tmp_path / "job")))
    capsys.readouterr()
    return Batch(tmp_path / "job", capsys)


@pytest.fixture
def sound(batch) -> Batch:
    """The same without the clip that failed."""
    (batch.clips / "b/broken.mp4").unlink()
    return batch


def test_each_output_is_that_of_the_single_command(encoded, tmp_path):
    assert names_below(encoded / "out") == {
        *("manifest.jsonl", "failed.jsonl", "a", "a/one.npz", "a/two.npz", "b", "b/one.npz")
    }
    single = tmp_path / "single.npz"
    one = command("encode", encoded / "clips/a/two.mp4", "-o", single, "-q", "--model", "tiny")
    subprocess.run(one, check=True)
    assert single.read_bytes() == (encoded / "out/a/two.npz").read_bytes()


def test_a_row_says_all_about_its_clip(encoded):
    rows = rows_of(encoded / "out")
    assert set(rows) == {"a/one.npz", "a/two.npz", "b/one.npz", "b/broken.npz"}
    row, output, source = rows["a/two.npz"], encoded / "out/a/two.npz", encoded / "clips/a/two.mp4"
    assert row["source"] == str(source)
    assert (row["status"], row["error"], row["relative"]) == ("done", None, "a/two.mp4")
    assert (row["frames"], row["width"], row["height"], row["latents_shape"]) == (17, 64, 48, [5, 6, 8, 16])
    assert (row["output_bytes"], row["sha256"]) == (output.stat().st_size, sha256_of(output))
    assert (row["source_bytes"], row["source_sha256"]) == (source.stat().st_size, sha256_of(source))
    assert row["model"] == "tiny"
    assert row["model_identity"] == read_header(output)[0].model.identity
    assert 0 <= row["seconds"] < 100
    assert len(row["settings"]) == 64


def test_a_clip_that_fails_is_told_and_listed_and_the_others_are_made(encoded):
    (failed,) = json_lines((encoded / "out/failed.jsonl").read_text())
    assert failed == rows_of(encoded / "out")["b/broken.npz"]
    assert (failed["status"], failed["error_kind"]) == ("failed", "VideoError")
    assert "broken.mp4" in failed["error"]


def test_the_same_command_again_makes_nothing_anew_and_tries_what_failed(batch):
    before = values_of(batch.out), rows_of(batch.out)
    code, lines = batch.run()
    assert code == 1
    assert {name: line["status"] for name, line in lines.items() if name != "summary"} == {
        "a/one.npz": "skipped",
        "a/two.npz": "skipped",
        "b/one.npz": "skipped",
        "b/broken.npz": "failed",
    }
    counts = {name: lines["summary"][name] for name in ("clips", "done", "skipped", "failed", "restarts")}
    assert counts == {"clips": 4, "done": 0, "skipped": 3, "failed": 1, "restarts": 0}
    assert (values_of(batch.out), rows_of(batch.out)) == before


def test_the_list_of_failures_is_an_input(batch):
    shutil.copy(batch.clips / "a/one.mp4", batch.clips / "b/broken.mp4")
    failures = batch.out / "failed.jsonl"
    failures.write_text(failures.read_text().replace("/encoded0/", "/job/"))
    manifest_before = rows_of(batch.out)
    row = json.loads(failures.read_text())
    failures.write_text(json.dumps(row | {"source": str(batch.clips / "b/broken.mp4"), "columns": {"n": 1}}) + "\n")
    code, lines = batch.run(inputs=("out/failed.jsonl",))
    assert (code, set(lines)) == (0, {"b/broken.npz", "summary"})
    rows = rows_of(batch.out)
    assert rows["b/broken.npz"]["columns"] == {"n": 1}
    assert {name: row for name, row in rows.items() if name != "b/broken.npz"} == {
        name: row for name, row in manifest_before.items() if name != "b/broken.npz"
    }
    assert not failures.exists()
    assert names_below(batch.out) >= {"b/broken.npz"}


def test_outputs_of_other_settings_are_in_the_way_until_they_may_be_made_anew(sound):
    before = values_of(sound.out)
    code, lines = sound.run("--scaled")
    assert code == 1
    assert lines["a/one.npz"]["error_kind"] == "OutputExistsError"
    assert "scaled False, not True" in lines["a/one.npz"]["error"]
    assert (values_of(sound.out), rows_of(sound.out)["a/one.npz"]["status"]) == (before, "done")
    assert len(json_lines((sound.out / "failed.jsonl").read_text())) == 4
    code, lines = sound.run("--scaled", "--skip-existing")
    assert lines["a/one.npz"]["status"] == "done"
    assert "a/one.npz is made anew: it was made with scaled False, not True" in sound.stderr
    assert read_header(sound.out / "a/one.npz")[0].scaled is True
    assert len(json_lines((sound.out / "failed.jsonl").read_text())) == 1


def test_a_source_counts_as_changed_by_its_bytes_not_by_its_time_alone(sound):
    os.utime(sound.clips / "a/one.mp4", ns=(1, 10**18))
    shutil.copy(sound.clips / "a/one.mp4", sound.clips / "b/one.mkv")
    assert sound.statuses("--skip-existing") == {
        "a/one.npz": "skipped",
        "a/two.npz": "skipped",
        "b/one.npz": "done",
    }
    assert "b/one.npz is made anew: its source has changed" in sound.stderr
    assert rows_of(sound.out)["a/one.npz"]["source_mtime_ns"] == 10**18
    assert values_of(sound.out)["b/one.npz"] == values_of(sound.out)["a/one.npz"]


def damage(path: Path, *, keep_time: bool) -> None:
    """Changes one byte in the middle of a file."""
    status, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_an_output_that_is_not_whole_is_made_anew(sound):
    before = values_of(sound.out)
    damage(sound.out / "a/one.npz", keep_time=False)
    (sound.out / "a/two.npz").unlink()
    statuses = sound.statuses("--skip-existing")
    assert (statuses["a/one.npz"], statuses["a/two.npz"], statuses["b/one.npz"]) == ("done", "done", "skipped")
    assert "a/one.npz is made anew: it isn't as it was written" in sound.stderr
    assert values_of(sound.out) == before


def test_only_verifying_finds_damage_behind_an_unchanged_size_and_time(sound):
    before = values_of(sound.out)
    damage(sound.out / "a/one.npz", keep_time=True)
    assert sound.statuses("--skip-existing")["a/one.npz"] == "skipped"
    assert sound.statuses("--skip-existing", "--verify-existing")["a/one.npz"] == "done"
    assert values_of(sound.out) == before


def test_outputs_without_a_manifest_are_known_by_their_own_headers(sound):
    rows = rows_of(sound.out)
    (sound.out / "manifest.jsonl").unlink()
    (sound.out / "a/two.npz").write_text("somebody's work")
    code, lines = sound.run()
    assert code == 1
    assert lines["a/one.npz"]["status"] == lines["b/one.npz"]["status"] == "skipped"
    assert "exists already; it is no whole latents file" in lines["a/two.npz"]["error"]
    assert (sound.out / "a/two.npz").read_text() == "somebody's work"
    again = rows_of(sound.out)["a/one.npz"]
    assert {name: again[name] for name in again} == {name: rows["a/one.npz"][name] for name in again}


def test_overwriting_makes_all_anew(sound):
    (sound.out / "a/two.npz").write_text("somebody's work")
    statuses = sound.statuses("-y")
    assert [status for _, status in sorted(statuses.items())] == ["done"] * 3


def test_decoding_mirrors_the_latents_and_keeps_what_it_made(batch):
    videos = str(batch.folder / "videos")
    code, lines = batch.run("--out-dir", videos, "--format", "mkv", inputs=("out",), job="decode")
    assert code == 0
    assert set(lines) == {"a/one.mkv", "a/two.mkv", "b/one.mkv", "summary"}
    single = batch.folder / "single.mkv"
    subprocess.run(command("decode", batch.out / "a/two.npz", "-o", single, "-q"), check=True)
    assert single.read_bytes() == (batch.folder / "videos/a/two.mkv").read_bytes()
    (batch.folder / "videos/a/one.mkv").write_text("somebody's work")
    code, lines = batch.run("--out-dir", videos, "--format", "mkv", inputs=("out/manifest.jsonl",), job="decode")
    assert [lines[name]["status"] for name in ("a/one.mkv", "a/two.mkv", "b/one.mkv")] == [
        "failed",
        "skipped",
        "skipped",
    ]
    assert "isn't as it was written" in lines["a/one.mkv"]["error"]


def test_the_first_failure_can_be_the_last(batch):
    for name in CLIPS:
        (batch.out / name).with_suffix(".npz").unlink()
        (batch.clips / name).write_bytes(BROKEN)
    more = [batch.clips / f"more{number:02}.mp4" for number in range(20)]  # several are in hand at a time
    try:
        for path in more:
            path.write_bytes(BROKEN)
        code, lines = batch.run("--fail-fast")
    finally:
        for path in more:
            path.unlink()
    assert code == 1
    assert 1 <= lines["summary"]["failed"] < len(CLIPS) + len(more)
    assert "were left" in batch.stderr.splitlines()[-2]


def test_names_that_collide_end_the_command_before_anything_is_written(batch):
    shutil.copy(batch.clips / "a/one.mp4", batch.clips / "a/one.mov")
    code, _ = batch.run("--out-dir", str(batch.folder / "new"))
    assert code == 2
    assert "would both become" in batch.stderr.splitlines()[-2]
    assert not names_below(batch.folder / "new")


def test_the_log_has_a_line_with_its_time_for_every_clip(batch):
    log = batch.folder / "log.txt"
    batch.run("-y", "--log-file", str(log))
    lines = log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", line) for line in lines)
    events = [line[21:].split(":")[0] for line in lines]
    assert {"done a/one.npz", "done a/two.npz", "done b/one.npz", "failed b/broken.mp4"} <= set(events)
    assert events[-1] == "ended"


def test_the_columns_of_a_table_come_into_the_manifest(batch):
    (batch.folder / "clips/t.csv").write_text("video,caption\na/one.mp4,a wave\n")
    code, _ = batch.run("--out-dir", str(batch.folder / "new"), inputs=("clips/t.csv",))
    assert code == 0
    assert rows_of(batch.folder / "new")["a/one.npz"]["columns"] == {"caption": "a wave"}


def test_shards_are_made_apart_and_their_manifests_merge(sound):
    out, made = sound.folder / "new", []
    for index in range(4):
        _, lines = sound.run("--out-dir", str(out), "--shard", f"{index}/4")
        made.append({name for name, line in lines.items() if line.get("status") == "done"})
        assert (out / f"manifest-{index}-of-4.jsonl").exists() == bool(made[-1])
    assert sum(map(bool, made)) == 2
    assert set().union(*made) == {"a/one.npz", "a/two.npz", "b/one.npz"}
    assert sum(map(len, made)) == 3
    code, lines = sound.run("--out-dir", str(out))
    assert (code, lines["summary"]["skipped"], lines["summary"]["failed"]) == (0, 3, 0)
    assert names_below(out) == {"manifest.jsonl", "a", "a/one.npz", "a/two.npz", "b", "b/one.npz"}
    assert set(rows_of(out)) == {"a/one.npz", "a/two.npz", "b/one.npz"}


def test_shards_of_tar_hold_what_files_would_and_are_gone_on_with(sound):
    out = sound.folder / "tar"
    (sound.clips / "some.txt").write_text("a/one.mp4\na/two.mp4\n")
    (sound.clips / "all.txt").write_text("\n".join(CLIPS))
    for given, expected in (("some", {"done": 2, "skipped": 0}), ("all", {"done": 1, "skipped": 2})):
        _, lines = sound.run("--out-dir", str(out), "--shards", "2", inputs=(f"clips/{given}.txt",))
        assert {name: lines["summary"][name] for name in expected} == expected
    assert names_below(out) == {"manifest.jsonl", "shard-000000.tar", "shard-000001.tar"}
    data = LatentDataset(out)
    assert {sample.key: sample.latents.shape for sample in data} == {
        "a/one.npz": (3, 6, 8, 16),
        "a/two.npz": (5, 6, 8, 16),
        "b/one.npz": (3, 6, 8, 16),
    }
    code, lines = sound.run("--out-dir", str(out), "--shards", "2", "--scaled", inputs=("clips/some.txt",))
    assert code == 1
    assert "exists already; it was made with other settings" in lines["a/one.npz"]["error"]
    assert lines["a/one.npz"]["hint"] == "take another --out-dir"


def test_clips_with_urls_are_made_and_kept_like_files(sound):
    url, out = f"file://{sound.clips}/a", sound.folder / "new"
    for count in ("done", "skipped"):
        _, lines = sound.run("--out-dir", str(out), inputs=(), url=url)
        assert lines["summary"][count] == 2, sound.stderr
    assert values_of(out) == values_of(sound.out / "a")
    assert rows_of(out)["one.npz"]["source"] == f"{url}/one.mp4"
    assert sound.run("--out-dir", f"file://{out}/stored", "--flip", inputs=("clips/a/one.mp4",))[0] == 0
    assert names_below(out / "stored") == {"manifest.jsonl", "one.npz", "one-flip.npz"}
    assert values_of(out / "stored")["one.npz"] == values_of(out)["one.npz"]


def test_a_mirror_image_can_be_a_second_output(sound):
    out = sound.folder / "new"
    pixels = np.random.default_rng(5).integers(0, 255, (9, 48, 64, 3), np.uint8)
    (sound.folder / "m").mkdir()
    write_frames(sound.folder / "m/plain.mkv", pixels, coding=LOSSLESS)
    write_frames(sound.folder / "m/turned.mkv", pixels[:, :, ::-1], coding=LOSSLESS)
    code, _ = sound.run("--out-dir", str(out), "--flip", inputs=("m",))
    assert code == 0
    values = values_of(out)
    assert values["plain-flip.npz"] == values["turned.npz"] != values["plain.npz"] == values["turned-flip.npz"]
    assert read_header(out / "plain-flip.npz")[0].settings["mirror"] == "yes"
    assert {name for name, row in rows_of(out).items() if row["mirrored"]} == {"plain-flip.npz", "turned-flip.npz"}
    assert sound.run("--out-dir", str(out), "--flip", inputs=("m",))[1]["summary"]["skipped"] == 4
    assert sound.run("--out-dir", str(out), inputs=("new/manifest.jsonl",))[1]["summary"]["skipped"] == 4
