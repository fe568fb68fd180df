"""A batch that stores latents as another program does."""

from __future__ import annotations

import pytest
from batch_runs import json_lines, rows_of, write_clips

from cogvae_cli.cli.main import main
from cogvae_cli.io.fingerprint import sha256_of

pytestmark = pytest.mark.xdist_group("batch")


def test_a_batch_stores_what_convert_makes_of_each_clip(tmp_path, capsys):
    clips, out = write_clips(tmp_path / "clips", {"a.mp4": 9}), tmp_path / "out"
    tiny = ("--model", "tiny", "--posterior", "moments")
    batch = ["encode", str(clips), "--out-dir", str(out), "--format", "finetrainers", *tiny, "--json"]
    assert main(batch) == 0
    assert main(["encode", str(clips / "a.mp4"), "-o", str(tmp_path / "a.npz"), *tiny]) == 0
    assert main(["convert", str(tmp_path / "a.npz"), "-o", str(tmp_path / "a.pt"), "--format", "finetrainers"]) == 0
    assert {path.name for path in out.iterdir()} == {"a.pt", "manifest.jsonl"}
    assert (out / "a.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()
    row = rows_of(out)["a.pt"]
    assert (row["output_bytes"], row["sha256"]) == ((out / "a.pt").stat().st_size, sha256_of(out / "a.pt"))
    capsys.readouterr()
    assert main(batch) == 0
    assert json_lines(capsys.readouterr().out)[0]["status"] == "skipped"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out-dir", "x", "--format", "finetrainers"], "finetrainers doesn't store the mean"),
        (["--out-dir", "x", "--format", "cogvideo", "--posterior", "moments"], "cogvideo doesn't store the moments"),
        (["--out-dir", "x", "--format", "cogvideo", "--scaled"], "cogvideo stores latents unscaled"),
        (["-o", "x.pt", "--format", "diffusers"], "--format diffusers is for many clips"),
    ],
)
def test_what_a_program_doesnt_store_is_refused(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(write_clips(tmp_path, {"a.mp4": 9}))
    assert main(["encode", "a.mp4", "--model", "tiny", *arguments]) == 2
    assert says in capsys.readouterr().err
