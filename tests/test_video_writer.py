"""The video writer, checked by reading its files back and by their own headers: size, rate, count, colours, tags."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import ffmpeg, numbered, read_numbers

from cogvae_cli.errors import OutputError, UsageError
from cogvae_cli.io.codecs import CODECS, container_of, repeatable
from cogvae_cli.io.colours import ColourFacts
from cogvae_cli.io.rates import parse_rate
from cogvae_cli.io.video_reader import VideoReader
from cogvae_cli.io.video_writer import VideoWriter
from cogvae_cli.io.write_options import WriteOptions


def write(path: Path, frames: np.ndarray, rate: Fraction | int = 25, crf: int = 18) -> VideoWriter:
    height, width = frames.shape[1:3]
    with VideoWriter(path, WriteOptions(width, height, Fraction(rate), container_of(path), crf)) as writer:
        writer.write(frames)
    return writer


def read(path: Path) -> tuple[np.ndarray, VideoReader]:
    with VideoReader(path) as reader:
        return np.stack(list(reader.frames())), reader


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("count", [1, 2, 5, 20, 50])
def test_as_many_frames_come_out_as_went_in_and_in_order(tmp_path, container, count):
    path = tmp_path / f"a.{container}"
    writer = write(path, numbered(range(count), 64, 48))
    frames, reader = read(path)
    assert read_numbers(frames) == list(range(count))
    assert writer.frames == reader.timing.frames == count
    assert writer.notices == ()


def test_frames_may_come_in_pieces(tmp_path):
    whole = numbered(range(20), 64, 48)
    with VideoWriter(tmp_path / "a.mp4", WriteOptions(64, 48, Fraction(25))) as writer:
        for piece in (whole[:9], whole[9:9], whole[9:17], whole[17:]):
            writer.write(piece)
    assert read_numbers(read(tmp_path / "a.mp4")[0]) == list(range(20))


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "120000/1001", "25/2", "8", "1/3", "1000", "12345/678"])
def test_the_rate_is_exact(tmp_path, container, rate):
    path = tmp_path / f"a.{container}"
    write(path, numbered(range(9), 64, 48), Fraction(rate))
    _, reader = read(path)
    assert reader.timing.rate == Fraction(rate)
    assert not reader.timing.variable


def test_time_stamps_are_exact_in_mp4(tmp_path):
    rate = Fraction(30000, 1001)
    write(tmp_path / "a.mp4", numbered(range(30), 64, 48), rate)
    with av.open(str(tmp_path / "a.mp4")) as container:
        times = [frame.pts * Fraction(frame.time_base) for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        assert (stream.frames, stream.duration * Fraction(stream.time_base)) == (30, 30 / rate)
    assert times == [index / rate for index in range(30)]


@pytest.mark.parametrize(
    "size", [(64, 48), (480, 272), (66, 50), (65, 49), (64, 49), (720, 405), (2, 2), (1, 1), (1, 7)]
)
def test_the_size_is_exact(tmp_path, size):
    frames = np.full((5, size[1], size[0], 3), (200, 60, 40), np.uint8)
    writer = write(tmp_path / "a.mp4", frames)
    got, reader = read(tmp_path / "a.mp4")
    assert got.shape == frames.shape
    odd = size[0] % 2 or size[1] % 2
    assert reader.info.pix_fmt == ("yuv444p" if odd else "yuv420p")
    assert reader.info.pixel_aspect == 1
    assert bool(writer.notices) == bool(odd)
    assert all("some players" in notice for notice in writer.notices)


@pytest.mark.parametrize("size", [(64, 48), (65, 49), (1280, 720)])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_colours_come_back_and_the_tags_are_true(tmp_path, size, container):
    path = tmp_path / f"a.{container}"
    for colour in ((200, 60, 40), (30, 180, 90), (40, 70, 210), (0, 0, 0), (255, 255, 255)):
        frames = np.full((2, size[1], size[0], 3), colour, np.uint8)
        write(path, frames)
        got, reader = read(path)
        assert np.abs(got.astype(int) - frames).max() <= 3
        assert reader.info.colour == ColourFacts("bt709", "limited", "bt709", "bt709", False)


def test_the_samples_are_those_of_bt709_in_limited_range(tmp_path):
    write(tmp_path / "a.mp4", np.full((2, 48, 64, 3), (200, 60, 40), np.uint8))
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    got = [np.frombuffer(plane, np.uint8)[0] for plane in frame.planes]
    red, green, blue = 200 / 255, 60 / 255, 40 / 255
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = [16 + 219 * luma, 128 + 224 * (blue - luma) / 1.8556, 128 + 224 * (red - luma) / 1.5748]
    assert np.abs(np.subtract(got, expected)).max() < 1.6


@pytest.mark.parametrize("size", [(256, 64), (255, 63)])
def test_a_gradient_comes_back_without_bias(tmp_path, size):
    width, height = size
    frames = np.zeros((3, height, width, 3), np.uint8)
    frames[..., 0] = np.linspace(20, 235, width)
    frames[..., 1] = np.linspace(235, 20, height)[:, None]
    frames[..., 2] = np.linspace(30, 220, width)[::-1]
    write(tmp_path / "a.mp4", frames, crf=4)
    error = read(tmp_path / "a.mp4")[0].astype(float) - frames
    assert np.abs(error.mean((0, 1, 2))).max() < 0.2  # measured: 0.04; with chroma half a pixel off: 0.36
    assert np.abs(error).mean() < 2


def test_no_frames_are_an_error_and_no_file_of_zero_frames(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", WriteOptions(64, 48, Fraction(25)))
    with pytest.raises(OutputError, match="no frames"):
        writer.close()


def test_an_exception_abandons_the_file(tmp_path):
    options = WriteOptions(64, 48, Fraction(25))
    with contextlib.suppress(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", options) as writer:
        writer.write(numbered(range(40), 64, 48))
        raise KeyboardInterrupt
    assert writer.frames == 40
    with pytest.raises(av.FFmpegError):
        av.open(str(tmp_path / "a.mp4"))


@pytest.mark.parametrize(("name", "words"), [("a.xyz", r"\.xyz"), ("a", "suffix"), ("a.jpg", r"\.jpg")])
def test_other_containers_are_refused_and_the_supported_ones_listed(name, words):
    with pytest.raises(UsageError, match=words) as caught:
        container_of(Path(name))
    assert ".mp4, .mov, .mkv, .webm, .gif or .png" in (caught.value.hint or "")


def test_the_suffix_may_be_in_capitals():
    assert container_of(Path("CLIP.MP4")) == "mp4"


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0}, {"height": 20_000}, {"rate": Fraction(0)}, {"rate": Fraction(-1)}, {"crf": 52}, {"crf": -1}],
)
def test_options_outside_their_range_are_refused(wrong):
    right = {"width": 64, "height": 48, "rate": Fraction(25)}
    with pytest.raises(UsageError):
        WriteOptions(**{**right, **wrong})


def test_frames_of_another_size_or_type_are_a_mistake_of_the_caller(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", WriteOptions(64, 48, Fraction(25))) as writer:
        for wrong in (np.zeros((1, 64, 48, 3), np.uint8), np.zeros((1, 48, 64, 3), np.float32)):
            with pytest.raises(ValueError, match="not uint8"):
                writer.write(wrong)
        writer.write(np.zeros((1, 48, 64, 3), np.uint8))


def test_any_name_is_the_name_of_a_local_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-dash.mp4", "frame%03d.mp4", "vidéo 日本語 🎬.mkv", "http:clip.mp4", "pipe:1.mov"):
        write(Path(name), numbered(range(3), 64, 48))
        assert read_numbers(read(Path(name))[0]) == [0, 1, 2]


@pytest.mark.parametrize("size", [(64, 48), (80, 66)])
@pytest.mark.parametrize(
    ("container", "codec", "pix_fmt"),
    [
        ("mp4", None, None),
        ("mov", None, "yuv444p"),
        ("mkv", None, "yuv420p10le"),
        ("webm", None, None),
        ("gif", None, None),
        ("mp4", "hevc", None),
        ("mkv", "av1", None),
        ("mkv", "ffv1", None),
        ("mov", "prores", None),
    ],
)
def test_a_video_is_the_same_bytes_each_time(tmp_path, container, codec, pix_fmt, size):
    written = set()
    for number in range(3):
        path = tmp_path / f"{number}.{container}"
        with VideoWriter(path, WriteOptions(*size, Fraction(25), container, codec=codec, pix_fmt=pix_fmt)) as writer:
            writer.write(numbered(range(20), *size))
        written.add(path.read_bytes())
    assert len(written) == 1


def test_h264_of_ten_bits_is_written_by_one_thread_where_a_border_is_drawn():
    for size, threads in (((482, 272), "1"), ((480, 270), "1"), ((480, 272), None)):
        assert repeatable(CODECS["h264"], *size, "yuv420p10le").get("threads") == threads
    assert "threads" not in repeatable(CODECS["h264"], 482, 272, "yuv420p")


def test_nothing_is_printed(tmp_path, capfd):
    write(tmp_path / "a.mp4", numbered(range(20), 65, 49))
    read(tmp_path / "a.mp4")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("given", "rate"),
    [
        (25, "25"),
        ("25", "25"),
        (29.97, "30000/1001"),
        ("23.976", "24000/1001"),
        ("23.98", "24000/1001"),
        (59.94, "60000/1001"),
        (30000 / 1001, "30000/1001"),
        ("30000/1001", "30000/1001"),
        ("29.9", "299/10"),
        (12.5, "25/2"),
        (Fraction(7, 3), "7/3"),
    ],
)
def test_rates_are_read_as_they_are_meant(given, rate):
    assert parse_rate(given) == Fraction(rate)


@pytest.mark.parametrize("given", ["0", "-25", "nan", "inf", "fast", "", "1/0", "1e9", "25 fps"])
def test_what_is_no_rate_is_refused(given):
    with pytest.raises(UsageError):
        parse_rate(given)


def test_another_program_reads_the_file(tmp_path):
    write(tmp_path / "a.mp4", numbered(range(20), 64, 48), Fraction(30000, 1001))
    ffmpeg("-i", tmp_path / "a.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", tmp_path / "raw")
    assert read_numbers(np.fromfile(tmp_path / "raw", np.uint8).reshape(-1, 48, 64, 3)) == list(range(20))


def test_the_index_stands_at_the_front_of_an_mp4(tmp_path):
    write(tmp_path / "a.mp4", numbered(range(20), 64, 48))
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
