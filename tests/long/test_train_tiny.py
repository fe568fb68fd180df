"""Training the built-in model: the same bits from the same seed, and from a run that was broken off."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import cogvae_cli as cogvae
from cogvae_cli.pipeline.roundtrip import built_in_clip

pytestmark = pytest.mark.long

TOOL = Path(__file__).resolve().parents[2] / "tools" / "train_tiny.py"

RUN = """
import runpy, sys
from tiny_training import media, run
from tiny_training.samples import Shape
media.MEDIA = (media.Medium({clip!r}, {sha256!r}, "CC0", (range(49),)),)
if {small}:
    run.COURSES["small"] = ((0.5, Shape(1, 9, 16)), (0.5, Shape(1, 1, 32)))
sys.argv = {arguments!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def _command(folder: Path, *arguments: str | Path, small: bool = True) -> subprocess.Popen[str]:
    """The tool, on the built-in clip instead of its own media."""
    with built_in_clip() as clip:
        sha256 = hashlib.sha256(clip.read_bytes()).hexdigest()
        words = [str(word) for word in (TOOL, *arguments, "--media", clip.parent)]
        code = RUN.format(clip=clip.name, sha256=sha256, small=small, arguments=words)
    environment = os.environ | {"PYTHONPATH": str(TOOL.parent), "JAX_COMPILATION_CACHE_DIR": str(folder / "programs")}
    return subprocess.Popen([sys.executable, "-c", code], text=True, env=environment)


def _done(folder: Path, *arguments: str | Path, small: bool = True) -> None:
    assert _command(folder, *arguments, small=small).wait(3600) == 0


def _weights(run: Path) -> dict[str, bytes]:
    with np.load(run / "checkpoint.npz") as kept:
        return {name: kept[name].tobytes() for name in kept.files}


def _log(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_two_hundred_steps_from_one_seed_are_the_same_to_the_bit(tmp_path) -> None:
    for name in ("one", "other"):
        _done(tmp_path, "train", tmp_path / name, "--steps", "200", "--course", "small", small=False)
    assert _weights(tmp_path / "one") == _weights(tmp_path / "other")
    steps = [line for line in _log(tmp_path / "one") if line["event"] == "steps"]
    psnr = [step["shapes"]["9x64"]["psnr"] for step in steps]  # type: ignore[index]
    assert psnr[-1] > psnr[0] + 3  # and it learns


def test_a_run_that_was_broken_off_goes_on_to_the_same_bits(tmp_path) -> None:
    whole = ("--steps", "60", "--seed", "3", "--save-every", "10")
    _done(tmp_path, "train", tmp_path / "whole", *whole)
    broken = _command(tmp_path, "train", tmp_path / "broken", *whole)
    while not (tmp_path / "broken" / "checkpoint.npz").exists():
        assert broken.poll() is None
        time.sleep(0.01)
    broken.send_signal(signal.SIGTERM)
    assert broken.wait(600) == 0
    assert _log(tmp_path / "broken")[-1]["step"] < 60  # type: ignore[operator]
    _done(tmp_path, "train", tmp_path / "broken", *whole)
    assert _weights(tmp_path / "broken") == _weights(tmp_path / "whole")


def test_a_stage_begins_with_the_weights_of_the_one_before_and_says_so(tmp_path) -> None:
    _done(tmp_path, "train", tmp_path / "one", "--steps", "3")
    _done(tmp_path, "export", tmp_path / "one", tmp_path / "model")
    _done(tmp_path, "train", tmp_path / "two", "--steps", "1", "--rate", "0", "--from", tmp_path / "model")
    _done(tmp_path, "export", tmp_path / "two", tmp_path / "same")
    exported, started = _log(tmp_path / "one")[-1], _log(tmp_path / "two")[0]
    assert exported["event"] == "export"
    assert started["stage"]["begins"] == exported["sha256"]  # type: ignore[index]
    names = ("model", "same")
    first, second = (load_file(tmp_path / name / "diffusion_pytorch_model.safetensors") for name in names)
    assert all(np.array_equal(first[key], second[key]) for key in first)
    vae = cogvae.load(str(tmp_path / "model"))
    clip = np.random.default_rng(0).normal(size=(1, 9, 32, 32, 3)).astype(np.float32)
    assert np.isfinite(np.asarray(vae.decode(vae.encode(clip).mean))).all()
    assert vae.scaling_factor == exported["scaling_factor"]
