"""`cogvae bench`."""

from __future__ import annotations

import json

import pytest

from cogvae_cli.cli.main import main


def test_a_bench_gives_speed_memory_and_a_trace(tmp_path, capsys) -> None:
    options = ["--size", "64x48", "--frames", "17", "--runs", "2", "--model", "tiny", "-q"]
    assert main(["bench", *options, "--profile", str(tmp_path / "trace"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [one["direction"] for one in facts["directions"]] == ["encoding", "decoding"]
    for one in facts["directions"]:
        assert one["frames_per_second"] == pytest.approx(17 / one["seconds"])
        assert 0 < one["compile_seconds"] < one["first_start_seconds"]
        assert one["compiled_bytes"] > 1e6
    assert any((tmp_path / "trace").rglob("*.xplane.pb"))
    assert main(["bench", *options]) == 0
    assert "of real time; first start" in capsys.readouterr().out


def test_a_bench_of_frames_that_are_no_clip_is_refused(capsys) -> None:
    assert main(["bench", "--frames", "16", "--model", "tiny"]) == 2
    assert "error: 16 frames, 3 runs" in capsys.readouterr().err
