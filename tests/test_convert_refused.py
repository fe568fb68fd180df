"""Latents that `cogvae convert` refuses rather than guess: one line that says what is missing or wrong."""

from __future__ import annotations

import numpy as np
import pytest
from foreign_samples import convert, laid_out, pt
from latents_samples import HEADER, SHAPE, write

from cogvae_cli.cli.main import main
from cogvae_cli.errors import CogvaeError, LatentsError, UsageError
from cogvae_cli.io.foreign_layout import FORMATS, readings
from cogvae_cli.io.torch_file import BARE, locate_tensors, write_tensors


@pytest.fixture
def latents(rng):
    """Axes [T H W C]."""
    return rng.normal(size=SHAPE).astype(np.float32)


@pytest.mark.parametrize(
    "shape", [(16, 16, 4, 6), (1, 16, 16, 4, 6), (16, 5, 4, 16), (32, 16, 4, 16), (1, 16, 32, 4, 16)]
)
def test_axes_that_could_be_read_two_ways_are_refused_with_the_way_out(tmp_path, shape, rng):
    np.save(tmp_path / "z.npy", rng.normal(size=shape).astype(np.float32))
    with pytest.raises(LatentsError, match="could be any of") as caught:
        convert(tmp_path / "z.npy", tmp_path / "z.npz", "tiny", scaled=False)
    assert "--layout" in str(caught.value.hint)
    layout = readings(shape)[0]
    convert(tmp_path / "z.npy", tmp_path / "z.npz", "tiny", scaled=False, layout=layout)


@pytest.mark.parametrize(
    ("shape", "layout", "says"),
    [
        ((4, 5, 4, 6), None, "isn't one clip of 16 channels"),
        ((2, 16, 5, 4, 6), None, "isn't one clip"),
        ((16, 4, 6), None, "isn't one clip"),
        ((2, 16, 5, 4, 6), "BCTHW", r"holds 2 clip\(s\)"),
        ((16, 5, 4, 6), "TCHW", "of 5 channels"),
        ((16, 5, 4, 6), "BCTHW", "doesn't fit the axes"),
    ],
)
def test_shapes_that_are_no_latents_are_refused(tmp_path, shape, layout, says, rng):
    np.save(tmp_path / "z.npy", rng.normal(size=shape).astype(np.float32))
    with pytest.raises(LatentsError, match=says):
        convert(tmp_path / "z.npy", tmp_path / "z.npz", "tiny", scaled=False, layout=layout)


@pytest.mark.parametrize(("program", "channels"), [("cogvideo", 32), ("finetrainers", 16), ("diffusers", 32)])
def test_values_for_moments_and_moments_for_values_are_refused(tmp_path, rng, program, channels):
    moved = rng.normal(size=(*SHAPE[:3], channels)).astype(np.float32)
    pt(tmp_path / "z.pt", laid_out(moved, FORMATS[program].layout))
    with pytest.raises(LatentsError, match=f"has {channels} channels, but a file of {program}"):
        convert(tmp_path / "z.pt", tmp_path / "z.npz", "tiny", format=program)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e39])
def test_values_that_are_not_finite_are_refused(tmp_path, latents, odd):
    broken = latents.astype(np.float64)
    broken[3, 1, 2, 5] = odd
    np.save(tmp_path / "z.npy", broken)
    with pytest.raises(LatentsError, match="NaN or Inf, first in latent frame 3"):
        convert(tmp_path / "z.npy", tmp_path / "z.npz", "tiny", scaled=False)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 16, 4, 6), }", "declares"),
        (b"\x93NUMPY\1\0\x76\0{'descr': '|O', 'fortran_order': False, 'shape': (2, 16, 4, 6), }", "dtype"),
        (b"\x93NUMPY\1\0\x76\0{'descr': '<i8', 'fortran_order': False, 'shape': (2, 16, 4, 6), }", "dtype"),
        (b"\x93NUMPY\1\0\x76\0" + b"[" * 110, "damaged"),
        (b"\x93NUMPY\3\0", "damaged"),
    ],
)
def test_crafted_npy_files_are_refused(tmp_path, content, says):
    (tmp_path / "z.npy").write_bytes(content.ljust(127) + b"\n")
    with pytest.raises(LatentsError, match=says) as caught:
        convert(tmp_path / "z.npy", tmp_path / "z.npz", "tiny", scaled=False)
    assert "\n" not in caught.value.message


def test_notes_that_are_another_files_are_refused(tmp_path, latents):
    own = write(tmp_path / "own.npz", HEADER, {"latents": latents})
    convert(own, tmp_path / "z.pt", layout="BCTHW")
    with (tmp_path / "z.pt").open("rb") as file:
        notes = dict(locate_tensors(file).notes)
    for says, changed in (
        ("other values", {}),
        ("notes wrong axes", {"cogvae_layout": "QQ"}),
        ("header", {"cogvae_header": "{}"}),
    ):
        with (tmp_path / "z.pt").open("wb") as file:
            write_tensors(file, {BARE: laid_out(latents + 1, "BCTHW")}, "float32", notes | changed)
        with pytest.raises(LatentsError, match=says):
            convert(tmp_path / "z.pt", tmp_path / "back.npz")


@pytest.mark.parametrize(
    ("name", "output", "choices", "fault"),
    [
        ("own", "z.pt", {}, UsageError),
        ("own", "z.npy", {}, UsageError),
        ("own", "z.npz", {"layout": "BCTHW"}, UsageError),
        ("own", "z.npy", {"format": "cogvideo"}, UsageError),
        ("own", "z.pt", {"format": "cogvideo", "layout": "BCTHW"}, UsageError),
        ("own", "z.pt", {"layout": "BCTH"}, UsageError),
        ("own", "z.pt", {"layout": "BCTHWW"}, UsageError),
        ("own", "z.mp4", {}, UsageError),
        ("own", "z.npz", {"rate": "8"}, UsageError),
        ("own", "z.npz", {"array": "x"}, UsageError),
        ("own", "z.npz", {"seed": 1}, UsageError),
        ("own", "z.pt", {"format": "finetrainers", "scaled": True}, UsageError),
        ("own", "z.npy", {"layout": "THWC", "dtype": "bfloat16"}, UsageError),
        ("own", "z.npz", {"posterior": "sample"}, LatentsError),
        ("demo", "z.npz", {"format": "cogvideo"}, UsageError),  # no model
        ("demo", "z.npz", {"model": "tiny"}, UsageError),  # no scale
        ("demo", "z.pt", {"format": "cogvideo", "model": "tiny"}, UsageError),  # foreign on both sides
        ("demo", "z.npz", {"format": "comfy", "model": "tiny"}, UsageError),
        ("demo", "z.npz", {"format": "cogvideo", "model": "tiny", "array": "x", "rate": "0"}, UsageError),
        ("missing", "z.npz", {}, LatentsError),
    ],
)
def test_what_is_missing_or_does_not_fit_is_said(tmp_path, latents, name, output, choices, fault):
    write(tmp_path / "own.npz", HEADER, {"latents": latents})
    pt(tmp_path / "demo.npz.pt", laid_out(latents, "BCTHW")).rename(tmp_path / "demo.npz")
    with pytest.raises(fault) as caught:
        convert(tmp_path / f"{name}.npz", tmp_path / output, **choices)
    assert isinstance(caught.value, CogvaeError)
    assert "\n" not in f"{caught.value.message}{caught.value.hint}"
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"PK\3\4" + bytes(99), b"hello" * 99]
)
def test_the_command_refuses_a_broken_file_with_one_line_and_3(tmp_path, content, capsys):
    (tmp_path / "z.pt").write_bytes(content)
    arguments = ["convert", str(tmp_path / "z.pt"), "-o", str(tmp_path / "z.npz"), "--format", "cogvideo", "-m", "tiny"]
    assert main(arguments) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2
    assert not (tmp_path / "z.npz").exists()
