"""A frame rate that varies: every time stamp kept in the latents' header, and written back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from media import are_in_order, numbered, write_frames

import cogvae_cli as cogvae
from cogvae_cli.io.latents import read_header
from cogvae_cli.io.video_reader import VideoReader
from cogvae_cli.pipeline.decode import DecodeOptions
from cogvae_cli.pipeline.encode import EncodeOptions
from cogvae_cli.pipeline.roundtrip_options import RoundtripOptions
from cogvae_cli.pipeline.video_options import ReadOptions, VideoOptions

TICKS = (0, 1, 2, 3, 8, 9, 10, 12, 16)
"""Hundredths of a second at which the frames are shown."""

MILD = VideoOptions(crf=4)
"""Numbers on small frames need a mild codec."""

TIMES = tuple(Fraction(tick, 100) for tick in TICKS)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rates") / "in.mkv"
    return write_frames(path, numbered(range(len(TICKS)), 64, 48), 100, ticks=TICKS)


def assert_at_their_times(video: Path) -> None:
    with VideoReader(video) as reader:
        assert are_in_order(reader.frames(), len(TICKS))
        assert reader.timing.variable
        assert reader.timing.times == TIMES


def test_encode_keeps_the_times_and_decode_writes_them_back(clip, tmp_path):
    encoded = cogvae.encode_file(clip, tmp_path / "z.npz", model="tiny")
    assert encoded.variable_rate
    header, _ = read_header(tmp_path / "z.npz")
    assert header.timing.times == TIMES
    for name in ("out.mp4", "out.mkv"):
        decoded = cogvae.decode_file(tmp_path / "z.npz", tmp_path / name, options=DecodeOptions(video=MILD))
        assert decoded.variable_rate
        assert_at_their_times(tmp_path / name)


def test_a_kept_round_trip_has_the_times_too(clip, tmp_path):
    result = cogvae.roundtrip_file(
        clip, model="tiny", options=RoundtripOptions(output=tmp_path / "back.mp4", video=MILD)
    )
    assert result.variable_rate
    assert_at_their_times(tmp_path / "back.mp4")


def test_a_rate_that_was_asked_for_is_constant(clip, tmp_path):
    options = EncodeOptions(reading=ReadOptions(fps=Fraction(25)))
    encoded = cogvae.encode_file(clip, tmp_path / "z.npz", model="tiny", options=options)
    assert (encoded.variable_rate, encoded.rate, encoded.frames) == (False, 25, 5)
    header, _ = read_header(tmp_path / "z.npz")
    assert header.settings["fps"] == "25"
