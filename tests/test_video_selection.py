"""Parts of a video, other rates and other sizes: the frames that are on the screen at those times, and no others."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media import Coding, ffmpeg, numbered, quarters, read_numbers, write_frames, write_numbered
from reading import FILES, read, refusal

from cogvae_cli.errors import UsageError
from cogvae_cli.io.read_options import ReadOptions, parse_seconds, seconds_text
from cogvae_cli.io.video_reader import VideoReader

TICKS = [0, 1, 2, 3, 7, 8, 15, 16, 30]  # of 1/25 s


def numbers_of(path: Path, **options: object) -> list[int]:
    return read_numbers(read(path, ReadOptions(**options))[0])


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "vp9.webm", "h264.ts", "mpeg4.avi", "live.mkv"])
def test_a_part_by_time_holds_the_frames_that_begin_in_it(tmp_path, name):
    path = write_numbered(tmp_path / name, 30, coding=FILES[name])
    assert numbers_of(path, start=Fraction("0.2")) == list(range(5, 30))
    assert numbers_of(path, duration=Fraction("0.4")) == list(range(10))
    assert numbers_of(path, start=Fraction("0.21"), duration=Fraction("0.16")) == [6, 7, 8, 9]
    assert numbers_of(path, start=Fraction("0.4"), frames=3) == [10, 11, 12]
    assert numbers_of(path, frames=100) == list(range(30))
    assert numbers_of(path, start=Fraction(0), duration=Fraction(100)) == list(range(30))


def test_times_of_a_part_start_at_its_first_frame(tmp_path):
    path = write_frames(tmp_path / "a.mkv", numbered(range(9), 64, 48), 25, ticks=TICKS)
    frames, reader = read(path, ReadOptions(start=Fraction("0.12"), duration=Fraction("0.6")))
    assert read_numbers(frames) == [3, 4, 5, 6, 7]
    assert reader.timing.times == tuple(Fraction(tick - 3, 25) for tick in TICKS[3:8])
    assert reader.record() == {"start": "0.12", "duration": "0.6"}


def test_ntsc_parts_are_exact_where_the_container_rounds(tmp_path):
    rate = Fraction(30000, 1001)
    for name in ("a.mp4", "a.mkv"):
        path = write_numbered(tmp_path / name, 40, rate=rate)
        for first in (1, 7, 30):
            assert numbers_of(path, start=first / rate, duration=5 / rate) == list(range(first, first + 5))


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "vp9.webm", "mpeg4.avi"])
@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        ("25", list(range(20))),
        ("10", [0, 2, 5, 7, 10, 12, 15, 17]),
        ("50", [number // 2 for number in range(40)]),
        ("30", [index * 25 // 30 for index in range(24)]),
        ("1", [0]),
    ],
)
def test_another_rate_shows_what_is_on_the_screen_at_each_moment(tmp_path, name, fps, expected):
    path = write_numbered(tmp_path / name, 20, coding=FILES[name])
    frames, reader = read(path, ReadOptions(fps=Fraction(fps)))
    assert read_numbers(frames) == expected
    assert (reader.timing.rate, reader.timing.variable) == (Fraction(fps), False)
    assert reader.timing.frames == len(expected)
    assert reader.record() == {"fps": fps}


def test_a_varying_rate_is_resampled_by_time_not_by_index(tmp_path):
    for name in ("a.mp4", "a.mkv"):
        path = write_frames(tmp_path / name, numbered(range(9), 64, 48), 25, ticks=TICKS)
        frames, reader = read(path, ReadOptions(fps=Fraction(25)))
        shown = [max(n for n, tick in enumerate(TICKS) if tick <= moment) for moment in range(31)]
        assert read_numbers(frames)[:31] == shown
        assert not reader.timing.variable


def test_resampling_a_part_starts_with_what_is_on_the_screen_then(tmp_path):
    path = write_frames(tmp_path / "a.mp4", numbered(range(9), 64, 48), 25, ticks=TICKS)
    options = {"fps": Fraction(25), "start": Fraction("0.2"), "duration": Fraction("0.2")}  # ticks 5 to 9
    assert numbers_of(path, **options) == [3, 3, 4, 5, 5]
    assert numbers_of(path, frames=3, **options) == [3, 3, 4]


def test_a_gifs_last_frame_lasts_as_long_as_it_says(tmp_path):
    source = write_numbered(tmp_path / "a.mkv", 4, rate=10, coding=Coding("ffv1", "bgr0"))
    ffmpeg("-i", source, "-final_delay", "40", tmp_path / "a.gif")
    assert numbers_of(tmp_path / "a.gif", fps=Fraction(10)) == [0, 1, 2, 3, 3, 3, 3]


def test_repeated_frames_are_arrays_of_their_own(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 5)
    frames, _ = read(path, ReadOptions(fps=Fraction(50)))
    frames[0][:] = 0
    assert frames[1].any()


def test_a_frame_of_hours_is_not_repeated_without_end(tmp_path):
    path = write_frames(tmp_path / "a.mkv", numbered(range(3), 64, 48), 25, ticks=[0, 1, 25 * 4000])
    assert "shown for 4000 s" in refusal(path, ReadOptions(fps=Fraction(25))).message
    frames, reader = read(path)
    assert len(frames) == 3
    assert reader.timing.rate == Fraction(1, 2000)
    assert reader.timing.times == (0, Fraction(1, 25), 4000)


def test_an_empty_part_is_refused(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 5)
    assert "none of its frames" in refusal(path, ReadOptions(start=Fraction(9))).message


def test_what_lies_behind_the_part_is_not_read(tmp_path):
    """A film that breaks off late is no obstacle to its start."""
    path = write_numbered(tmp_path / "a.mkv", 40, (128, 96))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 8 // 10])
    assert numbers_of(path, frames=9) == list(range(9))


def test_the_header_of_a_whole_video_tells_how_many_frames_will_come(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 20)
    cases = [({}, 20), ({"frames": 5}, 5), ({"start": Fraction(1, 5)}, None), ({"fps": Fraction(5)}, None)]
    for options, expected in cases:
        with VideoReader(path, ReadOptions(**options)) as reader:
            assert reader.expected_frames == expected


def test_a_stream_can_be_chosen_by_its_number(tmp_path):
    small = write_numbered(tmp_path / "small.mp4", 9)
    large = write_numbered(tmp_path / "large.mp4", 9, (128, 96))
    ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "sine=d=0.3",
        "-i",
        small,
        "-i",
        large,
        *["-map", "0", "-map", "1", "-map", "2", "-c:v", "copy"],
        tmp_path / "a.mkv",
    )
    for stream, size in ((1, (64, 48)), (2, (128, 96))):
        _, reader = read(tmp_path / "a.mkv", ReadOptions(stream=stream))
        assert (reader.info.width, reader.info.height) == size
        assert reader.record() == {"stream": str(stream)}
        assert any(f"2 video streams; number {stream}" in notice for notice in reader.notices)
    for stream in (0, 3):
        message = refusal(tmp_path / "a.mkv", ReadOptions(stream=stream)).message
        assert f"stream {stream} is no video; the video streams are 1, 2" in message


@pytest.fixture
def wide(tmp_path) -> Path:
    return write_frames(tmp_path / "wide.mkv", [quarters((128, 48))] * 2, coding=Coding("ffv1", "bgr0"))


def test_cover_fills_the_size_and_crops_what_is_over(wide):
    frames, reader = read(wide, ReadOptions(size=(48, 48), fit="cover"))
    assert (reader.info.width, reader.info.height) == (48, 48)
    assert np.array_equal(frames[0], quarters((128, 48))[:, 40:88])  # no scaling is needed, so it is exact
    assert reader.record() == {"size": "48x48", "fit": "cover"}


def test_contain_shows_all_and_pads_with_black(wide):
    frames, _ = read(wide, ReadOptions(size=(64, 64), fit="contain"))
    assert frames[0].shape == (64, 64, 3)
    assert not frames[0][:20].any()
    assert not frames[0][44:].any()
    assert np.abs(frames[0][20:44].astype(int) - quarters((64, 24))).mean() < 6


def test_stretch_fills_the_size_with_all_of_it(wide):
    frames, _ = read(wide, ReadOptions(size=(64, 96), fit="stretch"))
    assert np.abs(frames[0].astype(int) - quarters((64, 96))).mean() < 6


def test_a_smooth_picture_is_scaled_without_bias(tmp_path, rng):
    ramp = np.linspace(20, 235, 96)[None, :, None] * np.ones((64, 1, 3))
    path = write_frames(tmp_path / "a.mkv", [ramp.round().astype(np.uint8)] * 2, coding=Coding("ffv1", "bgr0"))
    for size in ((48, 32), (192, 128), (100, 70)):
        frames, _ = read(path, ReadOptions(size=size, fit="stretch"))
        assert abs(float(frames[0].mean()) - float(ramp.mean())) < 0.3


def test_a_size_over_the_limit_is_refused():
    with pytest.raises(UsageError, match="over the limit"):
        ReadOptions(size=(10_000, 10_000))


@pytest.mark.parametrize(
    "wrong",
    [
        {"fps": Fraction(0)},
        {"start": Fraction(-1)},
        {"duration": Fraction(0)},
        {"frames": 0},
        {"max_pixels": 0},
        {"stream": -1},
        {"size": (0, 5)},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(UsageError):
        ReadOptions(**wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12", 12), ("0.5", "1/2"), ("1:02.5", "125/2"), ("1:00:01", 3601), (".25", "1/4"), ("90", 90)],
)
def test_times_are_read_as_they_are_meant(text, seconds):
    assert parse_seconds(text) == Fraction(seconds)
    assert parse_seconds(seconds_text(Fraction(seconds))) == Fraction(seconds)


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1:2:3:4", "a", "1:", "nan", "1/2", "٣"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError):
        parse_seconds(text)
