"""One clip on several devices: eight virtual ones of the CPU, in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import write_numbered

from cogvae_cli import load
from cogvae_cli.cli.main import main
from cogvae_cli.errors import UsageError
from cogvae_cli.io.latents import read_latents
from cogvae_cli.model.sharding import chips, mesh_for

TOLERANCE = 1e-5
"""1.6e-6 was measured."""

COMPARE = """
import json, sys
import jax, numpy as np
from random_weights import TINY, random_frames, random_latents, random_tensors
from cogvae_cli.model.autoencoder import VAE
from cogvae_cli.model.config import ModelSource
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.sharding import chips

source = ModelSource("random", None, "0" * 64, ())
one = VAE(TINY, random_tensors(TINY), source, encode=Numerics(), decode=Numerics())
for height, frames, latents, counts in json.loads(sys.argv[1]):
    rows = height // 8
    video, z = random_frames(frames, height, 48), random_latents(latents, rows, 6)
    expected = one.encode(video), one.decode(z)
    for count in counts:
        many = one.on(jax.devices()[:count])
        got = many.encode(video), many.decode(z)
        pairs = [(expected[0].mean, got[0].mean), (expected[0].logvar, got[0].logvar), (expected[1], got[1])]
        errors = [float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs]
        spread = len(got[1].sharding.device_set)
        print(json.dumps([height, count, chips(many.form.mesh(height)), spread, errors]), flush=True)
"""


@pytest.mark.parametrize(("rows", "devices", "expected"), [(60, 4, 4), (60, 8, 6), (96, 8, 8), (17, 8, 1), (5, 8, 5)])
def test_as_many_devices_compute_as_divide_the_rows(rows: int, devices: int, expected: int) -> None:
    assert chips(mesh_for(list(range(devices)), rows)) == expected


FEW = ([[64, 9, 4, [8]]], {(64, 8): 8})
MANY = (
    [[64, 17, 3, [2, 4, 8]], [96, 9, 4, [2, 8]], [40, 17, 5, [2, 8]]],
    {(64, 2): 2, (64, 4): 4, (64, 8): 8, (96, 2): 2, (96, 8): 6, (40, 2): 1, (40, 8): 5},
)


@pytest.mark.parametrize(
    ("cases", "resolved"),
    [
        pytest.param(*FEW, marks=pytest.mark.tpu),  # needs no TPU, but its time: it runs with what compiles for TPUs
        pytest.param(*MANY, marks=pytest.mark.long),
    ],
)
def test_several_devices_give_what_one_gives(cases: list[Any], resolved: dict[tuple[int, int], int]) -> None:
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    path = os.pathsep.join(sys.path)
    told = subprocess.run(
        [sys.executable, "-c", COMPARE, json.dumps(cases)],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    lines: list[list[Any]] = [json.loads(line) for line in told.stdout.splitlines()]
    assert {(height, count): shares for height, count, shares, *_ in lines} == resolved
    for _, _, shares, spread, errors in lines:
        assert spread == shares  # the decoded frames really are on so many
        assert max(errors) < TOLERANCE


def in_a_process_of_eight(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "cogvae_cli", *arguments]
    environment = os.environ | {"XLA_FLAGS": flags}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.tpu
def test_a_clip_encoded_on_all_devices_is_the_one_encoded_on_one(tmp_path: Path) -> None:
    write_numbered(tmp_path / "in.mp4", 9, (64, 48), 24)
    encode = ["encode", "in.mp4", "--model", "tiny", "-o"]
    assert in_a_process_of_eight([*encode, "one.npz"], tmp_path).returncode == 0
    done = in_a_process_of_eight([*encode, "all.npz", "--devices", "all"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "notice: 6 of 8 devices share each frame, the most that divide the rows of frames of 48 pixels" in done.stderr
    )
    one, all_ = (read_latents(tmp_path / name).arrays["latents"] for name in ("one.npz", "all.npz"))
    np.testing.assert_allclose(all_, one, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("count", "words"),
    [("9", "9 devices were asked for, and this host has 1 cpu device"), ("0", "'0' is no number of devices")],
)
def test_devices_that_are_not_there_are_refused(count: str, words: str, tmp_path: Path, capsys) -> None:
    write_numbered(tmp_path / "in.mp4", 1, (64, 48), 24)
    arguments = ["encode", str(tmp_path / "in.mp4"), "-o", str(tmp_path / "z.npz"), "--model", "tiny"]
    assert main([*arguments, "--devices", count]) == 2
    assert f"error: {words}" in capsys.readouterr().err


def test_a_model_is_loaded_onto_the_devices_there_are() -> None:
    assert load("tiny", devices="all").form.devices == ()  # one of them shares with nobody
    with pytest.raises(UsageError, match="2 devices were asked for"):
        load("tiny", devices=2)
