"""One clip on several devices: eight virtual ones of the CPU, in a process of their own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_runs import write_clips
from media import write_numbered

from cogvae_cli import load
from cogvae_cli.cli.main import main
from cogvae_cli.errors import UsageError
from cogvae_cli.io.latents import read_latents
from cogvae_cli.model.sharding import is_by_clip, mesh_for, shape_of

TOLERANCE = 1e-5
"""1.6e-6 was measured."""

COMPARE = """
import json, sys
import jax, numpy as np
from random_weights import TINY, random_frames, random_latents, random_tensors
from cogvae_cli.model.autoencoder import VAE
from cogvae_cli.model.config import ModelSource
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.sharding import shape_of

source = ModelSource("random", None, "0" * 64, ())
one = VAE(TINY, random_tensors(TINY), source, encode=Numerics(), decode=Numerics())
for height, width, frames, latents, counts in json.loads(sys.argv[1]):
    video, z = random_frames(frames, height, width), random_latents(latents, height // 8, width // 8)
    expected = one.encode(video), one.decode(z)
    for count in counts:
        many = one.on(jax.devices()[:count])
        got = many.encode(video), many.decode(z)
        pairs = [(expected[0].mean, got[0].mean), (expected[0].logvar, got[0].logvar), (expected[1], got[1])]
        errors = [float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs]
        spread = len(got[1].sharding.device_set)
        mesh = shape_of(many.form.mesh(height, width, 1))
        print(json.dumps([f"{width}x{height}", count, mesh, spread, errors]), flush=True)
"""


@pytest.mark.parametrize(
    ("size", "devices", "expected"),
    [
        ((60, 90), 4, "4x1"),
        ((60, 90), 8, "4x2"),  # 6x1 would leave two idle
        ((96, 170), 8, "8x1"),  # over rows first
        ((34, 60), 4, "2x2"),
        ((17, 60), 8, "1x6"),
        ((5, 7), 8, "1x7"),
        ((11, 13), 8, "1x1"),
        ((60, 90), 1, "1x1"),
    ],
)
def test_as_many_devices_compute_as_divide_the_latents(size: tuple[int, int], devices: int, expected: str) -> None:
    assert shape_of(mesh_for(list(range(devices)), size)) == expected


@pytest.mark.parametrize(("clips", "devices", "shared"), [(4, 4, True), (8, 4, True), (6, 4, False), (2, 4, False)])
def test_clips_are_shared_out_if_each_device_gets_as_many(clips: int, devices: int, shared: bool) -> None:
    assert is_by_clip(mesh_for(list(range(devices)), (60, 90), clips)) is shared


FEW = ([[64, 48, 9, 4, [8]], [96, 32, 9, 3, [8]]], {("48x64", 8): "8x1", ("32x96", 8): "4x2"})
MANY = (
    [
        [64, 48, 17, 3, [1, 2, 4, 8]],  # 8 rows
        [48, 32, 9, 4, [2, 4, 8]],  # 6 rows, 4 columns
        [96, 32, 2, 1, [8]],  # 12 rows: 4x2 before 6x1
        [40, 48, 17, 5, [2, 8]],  # 5 rows: over columns
        [88, 104, 1, 2, [8]],  # 11 rows, 13 columns
    ],
    {
        ("48x64", 1): "1x1",
        ("48x64", 2): "2x1",
        ("48x64", 4): "4x1",
        ("48x64", 8): "8x1",
        ("32x48", 2): "2x1",
        ("32x48", 4): "2x2",
        ("32x48", 8): "2x4",
        ("32x96", 8): "4x2",
        ("48x40", 2): "1x2",
        ("48x40", 8): "1x6",
        ("104x88", 8): "1x1",
    },
)


@pytest.mark.parametrize(
    ("cases", "resolved"),
    [
        pytest.param(*FEW, marks=pytest.mark.tpu),  # needs no TPU, but its time: it runs with what compiles for TPUs
        pytest.param(*MANY, marks=pytest.mark.long),
    ],
)
def test_several_devices_give_what_one_gives(cases: list[Any], resolved: dict[tuple[str, int], str]) -> None:
    lines = told_by_eight(COMPARE, json.dumps(cases))
    assert {(size, count): mesh for size, count, mesh, *_ in lines} == resolved
    for _, _, mesh, spread, errors in lines:
        assert spread == math.prod(map(int, mesh.split("x")))  # the decoded frames really are on so many
        assert max(errors) < TOLERANCE


def told_by_eight(code: str, *arguments: str) -> list[list[Any]]:
    """What a process of eight devices prints as lines of JSON."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    told = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


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
    assert "notice: 8 of 8 devices share each frame as 2x4 (rows x columns)\n" in done.stderr
    one, all_ = (read_latents(tmp_path / name).arrays["latents"] for name in ("one.npz", "all.npz"))
    np.testing.assert_allclose(all_, one, rtol=0, atol=TOLERANCE)


TOGETHER = """
import json
import jax, numpy as np
from random_weights import TINY, random_frames, random_latents, random_tensors
from cogvae_cli.model.autoencoder import VAE
from cogvae_cli.model.config import ModelSource
from cogvae_cli.model.numerics import Numerics

one = VAE(TINY, random_tensors(TINY), ModelSource("random", None, "0" * 64, ()), encode=Numerics(), decode=Numerics())
video = np.concatenate([random_frames(17, 32, 48) * (0.7 + 0.1 * clip) for clip in range(4)])
z = np.concatenate([random_latents(3, 4, 6) + 0.1 * clip for clip in range(4)])
for vae in (one.on(jax.devices()[:2]), one.on(jax.devices()[:4]), one.in_strips().on(jax.devices()[:4])):
    got = vae.encode(video), vae.decode(z)
    expected = one.encode(video), one.decode(z)
    pairs = [(expected[0].mean, got[0].mean), (expected[0].logvar, got[0].logvar), (expected[1], got[1])]
    errors = [float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs]
    print(json.dumps([got[1].sharding.spec[0], len(got[1].sharding.device_set), errors]), flush=True)
"""


@pytest.mark.tpu
def test_clips_are_shared_out_among_devices_where_each_gets_as_many() -> None:
    lines = told_by_eight(TOGETHER)
    assert [line[:2] for line in lines] == [["clips", 2], ["clips", 4], ["clips", 4]]
    assert max(error for _, _, errors in lines for error in errors) < TOLERANCE


@pytest.mark.tpu
def test_a_batch_is_shared_out_among_all_devices(tmp_path: Path) -> None:
    write_clips(tmp_path / "clips", {f"{number}.mp4": 9 for number in range(8)})
    encode = ["encode", "clips", "--model", "tiny", "--out-dir"]
    assert in_a_process_of_eight([*encode, "one"], tmp_path).returncode == 0
    done = in_a_process_of_eight([*encode, "all", "--devices", "all", "--batch-size", "8"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "each of 8 devices computes 1 of 8 clips" in done.stderr
    for number in range(8):
        one, all_ = (read_latents(tmp_path / f"{name}/{number}.npz").arrays["latents"] for name in ("one", "all"))
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
