"""What is no video, broken, cut or too large is refused with one line, and nothing broken is passed on."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from media import (
    Coding,
    ffmpeg,
    numbered,
    read_numbers,
    write_frames,
    write_numbered,
)
from reading import FILES, read, refusal

from cogvae_cli.errors import VideoError
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.video_reader import VideoReader


def make_sound(path: Path) -> Path:
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.3", "-c:a", "aac", path)
    return path


def test_sound_alone_is_refused_and_named(tmp_path):
    assert "no video stream, only audio: aac" in refusal(make_sound(tmp_path / "a.m4a")).message


def test_cover_art_is_not_video(tmp_path):
    sound, cover = make_sound(tmp_path / "a.m4a"), tmp_path / "cover.jpg"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=32x32", "-frames:v", "1", cover)
    joined = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:v:0", "attached_pic"]
    ffmpeg("-i", sound, "-i", cover, *joined, tmp_path / "b.m4a")
    assert "cover art" in refusal(tmp_path / "b.m4a").message


def test_sound_beside_video_changes_nothing(tmp_path):
    video, sound = write_numbered(tmp_path / "a.mp4", 9), make_sound(tmp_path / "a.m4a")
    for name in ("b.mp4", "b.mkv"):
        ffmpeg("-i", video, "-i", sound, "-c", "copy", tmp_path / name)
        frames, reader = read(tmp_path / name)
        assert read_numbers(frames) == list(range(9))
        assert not reader.timing.variable


@pytest.mark.parametrize(("content", "words"), [(b"", "is empty"), (b"hello, I am text\n" * 9, "not a video")])
def test_what_is_no_video_is_refused(tmp_path, content, words):
    (tmp_path / "a.mp4").write_bytes(content)
    assert words in refusal(tmp_path / "a.mp4").message


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.mp4").message
    assert "is a folder" in refusal(tmp_path).message


def test_a_file_without_its_index_is_refused(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "moov" in refusal(path).message


def test_an_index_that_is_cut_is_called_that(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 20)
    path.write_bytes(path.read_bytes()[:-300])
    assert "the part that describes the video" in refusal(path).message


CUT = {name: FILES[name] for name in FILES if name not in ("vp9.mp4", "av1.mp4", "h264.mp4", "hevc.mp4", "h264.mov")}
CUT["faststart.mp4"] = Coding(muxer_options={"movflags": "faststart"})
CUT["faststart.mov"] = Coding("mjpeg", "yuvj420p", muxer_options={"movflags": "faststart"})


@pytest.mark.parametrize("part", [0.6, 0.9])
@pytest.mark.parametrize("name", [name for name in CUT if name not in ("live.mkv", "prores.mov", "mjpeg.mov")])
def test_a_truncated_file_is_refused_with_the_count_of_what_was_read(tmp_path, name, part):
    whole = write_frames(tmp_path / f"whole-{name}", numbered(range(40), 128, 96), coding=CUT[name])
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
    error = refusal(path)
    assert "truncated" in error.message
    before = read_until_it_breaks(path)
    assert read_numbers(before) == list(range(len(before)))
    assert f" {len(before)} frame" in error.message
    assert len(before) < 40


def read_until_it_breaks(path: Path) -> list[np.ndarray]:
    frames = []
    with contextlib.suppress(VideoError), VideoReader(path) as reader:
        frames.extend(reader.frames())
    return frames


def test_a_file_that_lost_only_what_comes_after_the_video_is_read(tmp_path):
    path = write_numbered(tmp_path / "a.mkv", 20)
    path.write_bytes(path.read_bytes()[:-5])  # of the index for seeking
    frames, _ = read(path)
    assert read_numbers(frames) == list(range(20))


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mpeg4.avi", "mjpeg.mov"])
def test_damage_in_the_middle_is_refused(tmp_path, name, rng):
    path = write_frames(tmp_path / name, noise(rng, 30), coding=FILES[name])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = rng.bytes(3000)
    path.write_bytes(data)
    assert "could be read" in refusal(path).message


def noise(rng: np.random.Generator, count: int) -> np.ndarray:
    """Frames that take many bytes, [T H W 3]."""
    return rng.integers(0, 256, (count, 96, 128, 3), dtype=np.uint8)


def test_a_size_that_changes_is_refused(tmp_path):
    parts = [write_numbered(tmp_path / "a.h264", 10), write_numbered(tmp_path / "b.h264", 10, (96, 64))]
    joined = tmp_path / "joined.h264"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert "from 64x48 to 96x64" in refusal(joined).message


def test_a_frame_over_the_limit_is_refused_before_it_is_decoded(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 5, (128, 96))
    with pytest.raises(VideoError, match="128x96 pixels is over the limit of 12,287") as caught:
        VideoReader(path, ReadOptions(max_pixels=128 * 96 - 1))
    assert "--max-pixels" in (caught.value.hint or "")
    with VideoReader(path, ReadOptions(max_pixels=128 * 96)) as reader:
        assert len(list(reader.frames())) == 5


def test_a_frame_of_the_largest_size_allowed_is_read(tmp_path):
    frames = [np.zeros((4320, 8192, 3), np.uint8)]
    path = write_frames(tmp_path / "a.mkv", frames, coding=Coding(options={"preset": "ultrafast"}))
    assert [frame.shape for frame in read(path)[0]] == [(4320, 8192, 3)]


@pytest.mark.parametrize("name", ["list.mp4", "list.ffconcat", "list.m3u8"])
def test_a_list_that_names_other_files_is_refused(tmp_path, name):
    write_numbered(tmp_path / "a.mp4", 5)
    text = "ffconcat version 1.0\nfile a.mp4\n"
    if name.endswith("m3u8"):
        text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.mp4\n#EXT-X-ENDLIST\n"
    (tmp_path / name).write_text(text)
    assert "not a video" in refusal(tmp_path / name).message


KEEP = ReadOptions(on_error="keep")


@pytest.mark.parametrize("name", ["faststart.mp4", "h264.mkv", "h264.ts", "mpeg4.avi", "vp9.webm", "h264.flv"])
def test_what_is_good_before_a_cut_is_kept_when_asked_for(tmp_path, name):
    coding = CUT.get(name, FILES.get(name))
    whole = write_frames(tmp_path / f"whole-{name}", numbered(range(40), 128, 96), coding=coding)
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.6)])
    frames, reader = read(path, KEEP)
    assert 0 < len(frames) < 40
    assert read_numbers(frames) == list(range(len(frames)))
    assert reader.timing.frames == len(frames)
    assert not reader.timing.variable
    assert reader.damage is not None
    assert reader.record()["damaged"] == reader.damage
    assert any(f"the {len(frames)} good frames before that are kept" in notice for notice in reader.notices)


def test_a_whole_file_is_not_marked_when_good_frames_are_kept(tmp_path):
    frames, reader = read(write_numbered(tmp_path / "a.mp4", 12), KEEP)
    assert len(frames) == 12
    assert reader.damage is None
    assert "damaged" not in reader.record()


def test_frames_before_a_change_of_size_are_kept_when_asked_for(tmp_path):
    parts = [write_numbered(tmp_path / "a.h264", 10), write_numbered(tmp_path / "b.h264", 10, (96, 64))]
    joined = tmp_path / "joined.h264"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, reader = read(joined, KEEP)
    assert read_numbers(frames) == list(range(10))
    assert "after 10 frames" in (reader.damage or "")


@pytest.mark.parametrize("content", [b"", b"hello, I am text\n" * 9])
def test_what_has_no_good_frame_is_refused_all_the_same(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    refusal(tmp_path / "a.mp4", KEEP)


@pytest.mark.parametrize(
    "name", ["concat:a.mp4|b.mp4", "http:a.mp4", "subfile,,start,0,end,9,,:a.mp4", "pipe:0", "data:,x"]
)
def test_no_name_is_a_protocol(tmp_path, name, monkeypatch):
    for letter in "ab":
        write_numbered(tmp_path / f"{letter}.mp4", 3)
    monkeypatch.chdir(tmp_path)
    assert "no such file" in refusal(Path(name)).message


def test_a_device_and_a_pipe_are_no_video(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (Path("/dev/zero"), tmp_path / "pipe.mp4"):
        assert "not a regular file" in refusal(path).message


def test_a_codec_that_nobody_knows_is_refused(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", 5)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"avc1", b"zzz1"))
    assert "a codec that can't be decoded" in refusal(path).message


def test_frames_too_small_to_deinterlace_are_refused(tmp_path):
    path = write_frames(tmp_path / "a.mkv", [np.full((2, 2, 3), 90, np.uint8)] * 3, coding=Coding("ffv1", "bgr0"))
    assert "can't be deinterlaced" in refusal(path, ReadOptions(deinterlace=True)).message
    assert len(read(path)[0]) == 3


@pytest.mark.parametrize("odd", [b"00:00:9e999999999", b"00:00:00.8\xff\xff\xff\xff\xff\xff\xff", b"9999999:00:00.000"])
def test_a_length_that_is_no_length_is_no_obstacle(tmp_path, odd):
    path = write_numbered(tmp_path / "a.mkv", 20)
    data = path.read_bytes()
    said = b"00:00:00.800000000"
    assert said in data
    path.write_bytes(data.replace(said, odd.ljust(len(said), b"0")[: len(said)]))
    assert len(read(path)[0]) == 20
