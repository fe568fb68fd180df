"""A later part of a video: what comes before it isn't decoded where that is safe, and the frames are the same ones."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from media import Coding, ffmpeg, read_numbers, write_numbered
from reading import HEVC, VP9, read, refusal

from cogvae_cli.io.read_options import ReadOptions

GROUPS = {"bf": "3", "b-adapt": "0", "g": "10"}
OPEN = Coding(options=GROUPS | {"x264-params": "open-gop=1:scenecut=0"}, matrix=6)
CLOSED = Coding(options=GROUPS, matrix=6)
FILES = {
    "closed.mp4": CLOSED,
    "open.mp4": OPEN,
    "open.mkv": OPEN,
    "open-hevc.mkv": Coding("libx265", options={"x265-params": "log-level=none:pools=none:open-gop=1:keyint=10"}),
    "open-hevc.mp4": Coding("libx265", options={"x265-params": "log-level=none:pools=none:open-gop=1:keyint=10"}),
    "vp9.webm": Coding("libvpx-vp9", options=dict(VP9.options) | {"g": "10"}),
    "mjpeg.mov": Coding("mjpeg", "yuvj420p"),
    "mpeg4.mp4": Coding("mpeg4", options={"bf": "2", "g": "10", "b": "2M"}),
    "refreshed.mp4": Coding(options={"x264-params": "intra-refresh=1:keyint=10"}),
    "fragmented.mp4": Coding(options=GROUPS, muxer_options={"movflags": "frag_keyframe+empty_moov"}),
    "one-key.mp4": HEVC,
}
COUNT = 40


def numbers_from(path: Path, first: int, **options: object) -> list[int]:
    return read_numbers(read(path, ReadOptions(start=Fraction(first, 25), **options))[0])


@pytest.mark.parametrize("name", FILES)
def test_a_part_holds_the_same_frames_wherever_key_frames_stand(tmp_path, name):
    path = write_numbered(tmp_path / name, COUNT, coding=FILES[name])
    for first in (1, 9, 10, 12, 20, 28, 29, 39):
        assert numbers_from(path, first) == list(range(first, COUNT)), first
        assert numbers_from(path, first, frames=2) == list(range(first, COUNT))[:2]
    middle = Fraction(37, 50)  # half a frame behind the beginning of number 18
    assert read_numbers(read(path, ReadOptions(start=middle, fps=Fraction(25, 2)))[0]) == list(range(18, COUNT, 2))


@pytest.mark.parametrize("name", ["closed.mp4", "open.mp4"])
def test_a_part_of_a_file_whose_beginning_is_cut_by_an_edit_list_is_exact(tmp_path, name):
    source = write_numbered(tmp_path / name, COUNT, coding=FILES[name])
    ffmpeg("-ss", "0.5", "-i", source, "-c", "copy", tmp_path / "cut.mp4")
    shown = read_numbers(read(tmp_path / "cut.mp4")[0])
    assert shown[0] > 10
    assert shown == list(range(shown[0], COUNT))
    for first in range(0, len(shown), 3):
        assert numbers_from(tmp_path / "cut.mp4", first) == shown[first:], first


@pytest.mark.parametrize("name", ["closed.mp4", "open.mp4", "open.mkv"])
def test_what_comes_before_the_key_frame_is_not_decoded(tmp_path, name):
    path = write_numbered(tmp_path / name, COUNT, coding=FILES[name])
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        spoilt = [
            (packet.pos, packet.size) for packet in packets if 12 * 25 < packet.pts * packet.time_base * 625 < 450
        ]
    data = bytearray(path.read_bytes())
    for position, size in spoilt:
        data[position + 4 : position + size] = b"\xff" * (size - 4)
    path.write_bytes(data)
    assert numbers_from(path, 25) == list(range(25, COUNT))
    assert "damaged" in refusal(path).message


def test_a_part_that_was_sought_ends_where_the_file_is_cut(tmp_path):
    coding = Coding(options=GROUPS, muxer_options={"movflags": "faststart"})
    path = write_numbered(tmp_path / "a.mp4", COUNT, coding=coding)
    path.write_bytes(path.read_bytes()[:-60])
    message = refusal(path, ReadOptions(start=Fraction(1))).message
    assert "could be read, then the data breaks off" in message
