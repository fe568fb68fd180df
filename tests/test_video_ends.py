"""Files that break off where FFmpeg reports nothing: the structure of each container tells that they do."""

from __future__ import annotations

import random

import pytest
from media import LOSSLESS, ffmpeg, numbered, spoil_pictures, write_frames, write_numbered
from reading import FILES, HEVC, read, refusal

COUNT = 20
SOURCE_SIZE = (128, 96)
KINDS = {
    "live.mkv": ["libx264", "-bf", "2", "-live", "1"],
    "dash.mp4": ["libx264", "-g", "5", "-movflags", "dash+frag_keyframe+empty_moov+global_sidx"],
    "theora.ogv": ["libtheora", "-q:v", "10"],
    "mpeg2.mxf": ["mpeg2video", "-b:v", "3M"],
    "pal.dv": ["dvvideo", "-s", "720x576", "-pix_fmt", "yuv420p", "-frames:v", "4"],
    "ntsc.dv": ["dvvideo", "-s", "720x480", "-pix_fmt", "yuv411p", "-r", "30000/1001", "-frames:v", "4"],
    "jpegs.mjpeg": ["mjpeg"],
    "420.y4m": ["rawvideo", "-pix_fmt", "yuv420p"],
    "444p10.y4m": ["rawvideo", "-pix_fmt", "yuv444p10", "-strict", "-1"],
    "mono.y4m": ["rawvideo", "-pix_fmt", "gray"],
    "frames.gif": ["gif"],
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_numbered(tmp_path_factory.mktemp("ends") / "source.mkv", COUNT, SOURCE_SIZE, coding=LOSSLESS)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_breaks_off_anywhere_is_refused_and_a_whole_one_read(tmp_path, source, name):
    codec, *options = KINDS[name]
    ffmpeg("-i", source, "-c:v", codec, *options, tmp_path / name)
    assert len(read(tmp_path / name)[0]) == (4 if name.endswith(".dv") else COUNT)
    data = (tmp_path / name).read_bytes()
    chance = random.Random(name)
    for part in (0.7, 0.8, 0.95):
        length = int(len(data) * part) + chance.randrange(50)
        cut = tmp_path / f"cut-{name}"
        cut.write_bytes(data[:length])
        message = refusal(cut).message
        assert "could be read" in message, (length, len(data))
        assert "truncated" in message


def test_pictures_that_hevc_loses_without_a_word_are_missed(tmp_path):
    path = write_frames(tmp_path / "a.mp4", numbered(range(COUNT), 64, 48), coding=HEVC)
    spoil_pictures(path, slice(8, 11))
    assert "damaged" in refusal(path).message


def test_what_follows_a_live_recording_is_no_cut(tmp_path):
    path = write_numbered(tmp_path / "a.mkv", COUNT, coding=FILES["live.mkv"])
    path.write_bytes(path.read_bytes() + bytes(4096))  # as of a disk that gives files whole blocks
    assert len(read(path)[0]) == COUNT
