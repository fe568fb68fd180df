"""The video reader on real files: every frame, in order, at its time, whatever the container and the name."""

from __future__ import annotations

import gc
import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media import (
    LOSSLESS,
    Coding,
    ffmpeg,
    numbered,
    quarters,
    read_numbers,
    write_frames,
    write_numbered,
)
from reading import B_FRAMES, FILES, VP9, read

from cogvae_cli.io.colours import ColourFacts
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.video_reader import VideoReader, probe


@pytest.mark.parametrize("name", FILES)
def test_frames_come_in_order_and_all_of_them(tmp_path, name):
    frames, reader = read(write_numbered(tmp_path / name, 21, coding=FILES[name]))
    assert read_numbers(frames) == list(range(21))
    assert (reader.timing.rate, reader.timing.variable, reader.timing.frames) == (25, False, 21)
    assert (reader.info.width, reader.info.height) == (64, 48)


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "vp9.webm", "hevc.mp4"])
@pytest.mark.parametrize("rate", [(30000, 1001), (24000, 1001), (60000, 1001), (25, 2), (8, 1)])
def test_the_rate_is_exact(tmp_path, name, rate):
    _, reader = read(write_numbered(tmp_path / name, 9, rate=Fraction(*rate), coding=FILES[name]))
    assert reader.timing.rate == Fraction(*rate)
    assert not reader.timing.variable


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_varying_rate_keeps_every_time_stamp(tmp_path, name):
    ticks = [0, 1, 2, 3, 7, 8, 15, 16, 30]
    path = write_frames(tmp_path / name, numbered(range(9), 64, 48), 25, ticks=ticks)
    frames, reader = read(path)
    assert read_numbers(frames) == list(range(9))
    assert reader.timing.variable
    assert reader.timing.times == tuple(Fraction(tick, 25) for tick in ticks)
    assert reader.timing.rate == Fraction(8 * 25, 30)


def test_a_dropped_frame_makes_the_rate_vary(tmp_path):
    ticks = [0, 1, 2, 4, 5, 6, 7, 8]
    path = write_frames(tmp_path / "a.avi", numbered(range(8), 64, 48), 25, FILES["mpeg4.avi"], ticks)
    _, reader = read(path)
    assert reader.timing.variable


def test_a_late_start_is_no_part_of_the_times(tmp_path):
    ffmpeg("-i", write_numbered(tmp_path / "a.mp4", 9), "-c", "copy", "-output_ts_offset", "10", tmp_path / "a.ts")
    frames, reader = read(tmp_path / "a.ts")
    assert read_numbers(frames) == list(range(9))
    assert (reader.timing.rate, reader.timing.variable) == (25, False)


def test_frames_that_an_edit_list_cuts_are_not_shown(tmp_path):
    source = write_numbered(tmp_path / "a.mp4", 20, coding=B_FRAMES)
    ffmpeg("-ss", "0.3", "-i", source, "-t", "0.32", "-c", "copy", tmp_path / "b.mp4")
    frames, reader = read(tmp_path / "b.mp4")
    numbers = read_numbers(frames)
    assert numbers == list(range(numbers[0], numbers[0] + len(frames)))
    assert numbers[0] in (7, 8)
    assert reader.info.declared_frames != len(frames)  # the header counts the frames that are stored


def test_a_stream_without_time_stamps_is_read_at_its_rate_with_a_notice(tmp_path):
    frames, reader = read(write_numbered(tmp_path / "a.h264", 12, coding=B_FRAMES))
    assert read_numbers(frames) == list(range(12))
    assert (reader.timing.rate, reader.timing.variable) == (25, False)
    assert any("no time stamps" in notice for notice in reader.notices)


def test_the_best_of_several_video_streams_is_read(tmp_path):
    small = write_numbered(tmp_path / "small.mp4", 9)
    large = write_numbered(tmp_path / "large.mp4", 9, (128, 96))
    default = ["-disposition:v:0", "0", "-disposition:v:1", "default"]
    ffmpeg("-i", small, "-i", large, "-map", "0", "-map", "1", "-c", "copy", *default, tmp_path / "both.mkv")
    _, reader = read(tmp_path / "both.mkv")
    assert (reader.info.width, reader.info.height) == (128, 96)
    assert any("2 video streams; number 1" in notice for notice in reader.notices)


@pytest.mark.parametrize("name", ["-dash.mp4", "frame%03d.mp4", "vidéo 日本語 🎬.mp4", "http:clip.mp4", "a|b;c'd.mp4"])
def test_any_name_is_the_name_of_a_local_file(tmp_path, name, monkeypatch):
    write_numbered(tmp_path / "a.mp4", 5)
    shutil.copy(tmp_path / "a.mp4", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    frames, reader = read(Path(name))
    assert read_numbers(frames) == list(range(5))
    assert reader.info.name == name


def test_a_name_that_is_no_utf_8_is_a_name_all_the_same(tmp_path):
    path = tmp_path / os.fsdecode(b"clip \xe9t\xe9.mp4")
    shutil.copy(write_numbered(tmp_path / "a.mp4", 5), path)
    frames, reader = read(path)
    assert read_numbers(frames) == list(range(5))
    assert reader.info.name == path.name


def test_tags_of_another_encoding_are_no_obstacle(tmp_path):
    ffmpeg(
        "-i",
        write_numbered(tmp_path / "a.mkv", 5),
        "-c",
        "copy",
        "-metadata",
        "title=Zuerich am See",
        tmp_path / "b.mkv",
    )
    data = (tmp_path / "b.mkv").read_bytes()
    (tmp_path / "b.mkv").write_bytes(data.replace(b"Zuerich am See", b"Z\xfcrich am See!"))
    frames, _ = read(tmp_path / "b.mkv")
    assert read_numbers(frames) == list(range(5))


def test_chunks_hold_all_frames_in_order(tmp_path):
    for count in (1, 2, 8, 9, 10, 17, 25, 30):
        path = write_numbered(tmp_path / f"{count}.mp4", count)
        with VideoReader(path) as reader:
            chunks = list(reader.chunks(9, 8))
        lengths = [len(chunk) for chunk in chunks]
        assert lengths[0] == min(9, count)
        assert all(length == 8 for length in lengths[1:-1])
        assert read_numbers(np.concatenate(chunks)) == list(range(count))
        assert all(chunk.dtype == np.uint8 and chunk.flags.c_contiguous for chunk in chunks)


def test_odd_sizes_keep_every_row_and_column(tmp_path):
    for name, coding in (("a.webm", VP9), ("a.mp4", Coding("libx264", "yuv444p")), ("a.mkv", LOSSLESS)):
        frames, _ = read(write_numbered(tmp_path / name, 5, (65, 49), coding=coding))
        assert {frame.shape for frame in frames} == {(49, 65, 3)}
        assert read_numbers(frames) == list(range(5))


def test_animated_and_still_pictures_are_read(tmp_path):
    animated = write_numbered(tmp_path / "a.gif", 12, rate=20, coding=Coding("gif", "gray"))
    frames, reader = read(animated)
    assert read_numbers(frames) == list(range(12))
    assert reader.timing.rate == 20
    still = write_frames(tmp_path / "a.png", [quarters()], coding=Coding("png", "rgb24", muxer="image2"))
    frames, reader = read(still)
    assert np.array_equal(frames[0], quarters())
    assert (len(frames), reader.timing.frames) == (1, 1)


def test_timing_is_known_only_at_the_end(tmp_path):
    with VideoReader(write_numbered(tmp_path / "a.mp4", 5)) as reader:
        with pytest.raises(RuntimeError, match="after its last frame"):
            _ = reader.timing
        assert len(list(reader.frames())) == 5
        assert reader.timing.frames == 5


def test_probe_tells_what_reading_finds(tmp_path):
    coding = Coding(matrix=1, primaries=1, transfer=1, full=False)
    path = write_numbered(tmp_path / "a.mp4", 9, (128, 96), Fraction(30000, 1001), coding)
    info = probe(path)
    assert (info.name, info.container, info.codec, info.pix_fmt) == ("a.mp4", "mp4", "h264", "yuv420p")
    assert (info.width, info.height, info.rate, info.declared_frames) == (128, 96, Fraction(30000, 1001), 9)
    assert info.duration == Fraction(9 * 1001, 30000)
    assert info.colour == ColourFacts("bt709", "limited", "bt709", "bt709", False)
    assert info.bytes == path.stat().st_size


def test_leaving_early_closes_the_file(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 20)
    with VideoReader(path) as reader:
        next(reader.frames())
    reader.close()
    assert not [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink() and _target(link) == path]


def _target(link: Path) -> Path | None:
    try:
        return link.readlink()
    except FileNotFoundError:
        return None


def test_many_opens_leave_no_memory_behind(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 10, (128, 96))

    def use(times: int) -> None:
        for _ in range(times):
            with VideoReader(path) as reader:
                next(reader.frames())
        gc.collect()

    use(30)
    before = _resident()
    use(200)
    assert _resident() - before < 5e6


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.parametrize(
    ("name", "starts"), [("a.ts", (10, 500)), ("a.ts", (500, 10)), ("a.ts", (10, 9)), ("a.mpg", (2, 90))]
)
def test_joined_recordings_follow_each_other_though_their_time_stamps_jump(tmp_path, name, starts):
    source = write_numbered(tmp_path / "a.mkv", 20, coding=LOSSLESS)
    codec = ["mpeg2video", "-b:v", "3M"] if name.endswith("mpg") else ["libx264", "-pix_fmt", "yuv420p"]
    joined = tmp_path / name
    for start in starts:
        part = tmp_path / f"{start}-{name}"
        ffmpeg("-i", source, "-c:v", *codec, "-bf", "2", "-output_ts_offset", str(start), part)
        with joined.open("ab") as file:
            file.write(part.read_bytes())
    frames, reader = read(joined)
    assert read_numbers(frames) == list(range(20)) * 2
    assert (reader.timing.rate, reader.timing.variable) == (25, False)
    assert any("time stamps jump once" in notice for notice in reader.notices)
    frames, _ = read(joined, ReadOptions(start=Fraction("0.76"), duration=Fraction("0.12")))
    assert read_numbers(frames) == [19, 0, 1]


SAME = {
    "copy.mov": ["copy"],
    "copy.mp4": ["copy", "-movflags", "frag_keyframe+empty_moov"],
    "copy.mkv": ["copy"],
    "copy.ts": ["copy"],
    "copy.flv": ["copy"],
    "copy.nut": ["copy"],
    "raw.h264": ["copy"],
}
LOSSLESS_CODECS = {
    "ffv1.mkv": ["ffv1", "-pix_fmt", "bgr0"],
    "ffv1.avi": ["ffv1", "-pix_fmt", "bgr0"],
    "x264rgb.mp4": ["libx264rgb", "-qp", "0", "-pix_fmt", "rgb24"],
    "qtrle.mov": ["qtrle", "-pix_fmt", "rgb24"],
    "png.mov": ["png", "-pix_fmt", "rgb24"],
    "utvideo.avi": ["utvideo", "-pix_fmt", "gbrp"],
    "magicyuv.mkv": ["magicyuv", "-pix_fmt", "gbrp"],
    "raw.nut": ["rawvideo", "-pix_fmt", "rgb24"],
    "raw.avi": ["rawvideo", "-pix_fmt", "bgr24"],
    "vp9.webm": ["libvpx-vp9", "-lossless", "1", "-pix_fmt", "gbrp"],
    "animated.png": ["apng", "-f", "apng", "-pix_fmt", "rgb24"],
    "%03d.png": ["png", "-pix_fmt", "rgb24"],
    "%03d.tiff": ["tiff", "-pix_fmt", "rgb24"],
    "%03d.bmp": ["bmp", "-pix_fmt", "bgr24"],
}


def test_the_same_content_is_the_same_frames_in_every_container(tmp_path):
    coding = Coding(options={"bf": "2", "b-adapt": "0"}, matrix=6, full=False)
    source = write_numbered(tmp_path / "source.mp4", 12, coding=coding)
    expected = np.stack(read(source)[0])
    for name, options in SAME.items():
        ffmpeg("-i", source, "-c:v", *options, tmp_path / name)
        assert np.array_equal(np.stack(read(tmp_path / name)[0]), expected), name


def test_the_same_content_is_the_same_frames_in_every_lossless_codec(tmp_path, rng):
    expected = np.stack([quarters(), *rng.integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)])
    source = write_frames(tmp_path / "source.mkv", expected, coding=LOSSLESS)
    for name, options in LOSSLESS_CODECS.items():
        ffmpeg("-i", source, "-c:v", *options, tmp_path / name)
        assert np.array_equal(np.stack(read(tmp_path / name)[0]), expected), name
