"""A frame rate that varies: kept in the latents' header, written at its mean, and said so."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from media import are_in_order, numbered, write_frames

import cogvae_cli as cogvae
from cogvae_cli.io.latents import read_header
from cogvae_cli.io.video_reader import VideoReader
from cogvae_cli.pipeline.decode import DecodeOptions, VideoOptions
from cogvae_cli.pipeline.roundtrip import RoundtripOptions

TICKS = (0, 1, 2, 3, 8, 9, 10, 12, 16)
"""Hundredths of a second at which the frames are shown."""

MILD = VideoOptions(crf=4)
"""Numbers on small frames need a mild codec."""

MEAN = Fraction(8 * 100, 16)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rates") / "in.mkv"
    return write_frames(path, numbered(range(len(TICKS)), 64, 48), 100, ticks=TICKS)


def assert_at_mean_rate(video: Path) -> None:
    with VideoReader(video) as reader:
        assert are_in_order(reader.frames(), len(TICKS))
        assert (reader.timing.rate, reader.timing.variable) == (MEAN, False)


def test_encode_keeps_the_times_and_decode_writes_the_mean_rate_and_says_so(clip, tmp_path):
    encoded = cogvae.encode_file(clip, tmp_path / "z.npz", model="tiny")
    assert encoded.variable_rate
    header, _ = read_header(tmp_path / "z.npz")
    assert header.timing.times == tuple(Fraction(tick, 100) for tick in TICKS)
    decoded = cogvae.decode_file(tmp_path / "z.npz", tmp_path / "out.mp4", options=DecodeOptions(video=MILD))
    assert any("varies" in notice and "50 frames/s" in notice for notice in decoded.notices)
    assert_at_mean_rate(tmp_path / "out.mp4")


def test_a_kept_round_trip_has_the_mean_rate_and_says_so(clip, tmp_path):
    result = cogvae.roundtrip_file(
        clip, model="tiny", options=RoundtripOptions(output=tmp_path / "back.mp4", video=MILD)
    )
    assert result.variable_rate
    assert any("varies" in notice for notice in result.notices)
    assert_at_mean_rate(tmp_path / "back.mp4")
