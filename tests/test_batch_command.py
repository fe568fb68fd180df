"""The command line of a batch: what doesn't go together, and which process does what."""

from __future__ import annotations

import subprocess
import sys

import pytest
from batch_runs import names_below, write_clips

from cogvae_cli.cli.main import main

pytestmark = pytest.mark.xdist_group("batch")

SUPERVISE = """
import sys
from cogvae_cli.cli.main import main
code = main(sys.argv[1:])
print(code, sorted(name for name in sys.modules if name.split(".")[0] in ("jax", "jaxlib", "flax")))
"""


def test_the_supervising_process_never_touches_jax(tmp_path):
    write_clips(tmp_path / "clips", {"one.mp4": 9})
    arguments = ["encode", str(tmp_path / "clips"), "--out-dir", str(tmp_path), "--model", "tiny", "-q", "--json"]
    done = subprocess.run([sys.executable, "-c", SUPERVISE, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["a.mp4", "b.mp4", "-o", "z.npz"], "can't become one output"),
        (["a.mp4"], "neither --output nor --out-dir"),
        (["a.mp4", "-o", "z.npz", "--out-dir", "out"], "-o names one output"),
        (["a.mp4", "-o", "z.npz", "--skip-existing"], "--skip-existing is for many clips"),
        (["a.mp4", "--out-dir", "out", "-y", "--skip-existing"], "leave one"),
        (["-", "--out-dir", "out"], "- is no part of a batch"),
        (["a.mp4", "--out-dir", "out", "--shard", "2/2"], "no shard"),
    ],
)
def test_options_that_do_not_go_together_are_told(arguments, fault, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["encode", *arguments, "--model", "tiny"]) == 2
    assert fault in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["-y"]])
def test_a_model_that_is_none_ends_the_batch_with_its_own_error(more, tmp_path, capsys):
    """Found by the supervising process, or by the worker where nothing has to be judged."""
    write_clips(tmp_path / "clips", {"one.mp4": 9})
    arguments = ["encode", str(tmp_path / "clips"), "--out-dir", str(tmp_path / "out"), "--model", str(tmp_path)]
    assert main([*arguments, "-q", *more]) == 3
    assert capsys.readouterr().err.startswith("error: ")
    assert not names_below(tmp_path / "out")
