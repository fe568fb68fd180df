"""Every codec and container that video is written in: count, order, size, times, colours, tags, and what is refused."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import numbered, read_numbers
from reading import read

from cogvae_cli.errors import UsageError
from cogvae_cli.io.codecs import CODECS, codec_of, container_of
from cogvae_cli.io.colours import ColourFacts
from cogvae_cli.io.video_writer import VideoWriter
from cogvae_cli.io.write_options import WriteOptions

PAIRS = [(codec, container) for codec, facts in CODECS.items() for container in facts.containers]
FAST = {"h264": "ultrafast", "hevc": "ultrafast", "av1": "10", "vp9": "4"}
BT709 = ColourFacts("bt709", "limited", "bt709", "bt709", False)


def options_for(codec: str, container: str, size: tuple[int, int] = (64, 48), **others: object) -> WriteOptions:
    plain = WriteOptions(*size, Fraction(25), container, codec=codec, preset=FAST.get(codec))
    return dataclasses.replace(plain, **others)


def write(path: Path, frames: np.ndarray, options: WriteOptions) -> VideoWriter:
    with VideoWriter(path, options) as writer:
        for frame in frames:
            writer.write(frame[None])
    return writer


@pytest.mark.parametrize(("codec", "container"), PAIRS)
def test_every_codec_keeps_count_order_size_and_rate(tmp_path, codec, container):
    path = tmp_path / f"a.{container}"
    rate = Fraction(30000, 1001)
    write(path, numbered(range(20), 64, 48), options_for(codec, container, rate=rate))
    frames, reader = read(path)
    assert read_numbers(frames) == list(range(20))
    assert (reader.timing.rate, reader.timing.variable) == (rate, False)
    assert (reader.info.width, reader.info.height, reader.info.codec) == (64, 48, codec)
    assert reader.info.pixel_aspect == 1


@pytest.mark.parametrize(("codec", "container"), PAIRS)
def test_every_codec_says_the_colours_that_it_holds(tmp_path, codec, container):
    path = tmp_path / f"a.{container}"
    for colour in ((200, 60, 40), (30, 180, 90), (40, 70, 210)):
        pixels = np.full((3, 48, 64, 3), colour, np.uint8)
        write(path, pixels, options_for(codec, container))
        frames, reader = read(path)
        assert np.abs(np.stack(frames).astype(int) - pixels).max() <= (0 if codec == "ffv1" else 3)
        expected = ColourFacts("rgb", "full", "bt709", "bt709", False) if codec == "ffv1" else BT709
        assert reader.info.colour == expected


@pytest.mark.parametrize("size", [(64, 48), (65, 49), (1, 7), (7, 1), (480, 272)])
def test_ffv1_is_exact(tmp_path, size, rng):
    width, height = size
    pixels = rng.integers(0, 256, (5, height, width, 3), dtype=np.uint8)
    write(tmp_path / "a.mkv", pixels, options_for("ffv1", "mkv", size))
    assert np.array_equal(np.stack(read(tmp_path / "a.mkv")[0]), pixels)


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p10le", "yuv444p", "yuv422p"])
@pytest.mark.parametrize("codec", ["h264", "hevc", "ffv1"])
def test_pixel_formats_are_those_that_were_asked_for(tmp_path, codec, pix_fmt):
    ramp = np.linspace(20, 235, 64).round().astype(np.uint8)
    pixels = np.broadcast_to(ramp[None, None, :, None], (3, 48, 64, 3))
    crf = {} if codec == "ffv1" else {"crf": 4}
    write(tmp_path / "a.mkv", pixels, options_for(codec, "mkv", pix_fmt=pix_fmt, **crf))
    frames, reader = read(tmp_path / "a.mkv")
    assert reader.info.pix_fmt == pix_fmt
    assert reader.info.colour == BT709
    assert np.abs(np.stack(frames).astype(int) - pixels).mean() < 1.5


@pytest.mark.parametrize("size", [(65, 49), (64, 49), (65, 48), (17, 17)])
@pytest.mark.parametrize("codec", CODECS)
def test_odd_sizes_are_exact_in_every_codec(tmp_path, codec, size):
    width, height = size
    container = CODECS[codec].containers[0]
    pixels = np.full((3, height, width, 3), (200, 60, 40), np.uint8)
    writer = write(tmp_path / f"a.{container}", pixels, options_for(codec, container, size))
    frames, reader = read(tmp_path / f"a.{container}")
    assert frames[0].shape == (height, width, 3)
    assert np.abs(np.stack(frames).astype(int) - pixels).max() <= 3
    assert bool(writer.notices) is (reader.info.pix_fmt == "yuv444p")


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize(
    ("size", "words"), [((65, 49), "column and row"), ((64, 49), "last row"), ((65, 48), "column")]
)
def test_an_edge_is_repeated_where_420_was_asked_for(tmp_path, codec, size, words):
    width, height = size
    pixels = numbered(range(3), width, height)
    writer = write(tmp_path / "a.mp4", pixels, options_for(codec, "mp4", size, pix_fmt="yuv420p", crf=4))
    frames, reader = read(tmp_path / "a.mp4")
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(frames[1][:height, :width].astype(int) - pixels[1]).mean() < 3
    assert np.abs(frames[1][-1].astype(int) - frames[1][-2]).mean() < 4
    assert words in writer.notices[0]
    assert reader.info.pix_fmt == "yuv420p"


@pytest.mark.parametrize(("codec", "container"), [*PAIRS, (None, "gif")])
def test_varying_times_come_back(tmp_path, codec, container):
    ticks = [0, 1, 2, 3, 7, 8, 15, 16, 30]
    times = tuple(Fraction(tick, 25) for tick in ticks)
    path = tmp_path / f"a.{container}"
    plain = WriteOptions(64, 48, Fraction(20, 3), container, codec=codec, preset=FAST.get(codec), times=times)
    write(path, numbered(range(9), 64, 48), plain)
    frames, reader = read(path)
    assert read_numbers(frames) == list(range(9))
    assert reader.timing.variable
    assert reader.timing.times == times


@pytest.mark.parametrize(("container", "off"), [("mp4", 1e-5), ("mkv", 3e-3), ("gif", 0.1)])
def test_times_finer_than_the_container_s_clock_stay_in_order(tmp_path, container, off):
    """Frames closer than a tick move apart, and the first is shown at 0."""
    times = tuple(Fraction(number * number, 9973) for number in range(12))
    options = WriteOptions(64, 48, Fraction(100), container, times=times)
    write(tmp_path / f"a.{container}", numbered(range(12), 64, 48), options)
    frames, reader = read(tmp_path / f"a.{container}")
    assert read_numbers(frames) == list(range(12))
    got = reader.timing.times or tuple(index / reader.timing.rate for index in range(12))
    assert max(abs(a - b) for a, b in zip(got, times, strict=True)) <= off


@pytest.mark.parametrize("rate", ["25", "30000/1001", "24000/1001", "10", "50"])
def test_a_gif_holds_all_frames_at_its_rate(tmp_path, rate):
    write(tmp_path / "a.gif", numbered(range(20), 64, 48), WriteOptions(64, 48, Fraction(rate), "gif"))
    frames, reader = read(tmp_path / "a.gif")
    assert read_numbers(frames) == list(range(20))
    assert not reader.timing.variable
    assert abs(reader.timing.rate / Fraction(rate) - 1) < 0.02
    duration = reader.info.duration
    assert duration is not None
    assert abs(duration - 20 / Fraction(rate)) <= Fraction(2, 100)


def test_a_gif_keeps_colours_within_its_palettes(tmp_path):
    x, y = np.meshgrid(np.linspace(0, 255, 64), np.linspace(0, 255, 48))
    pixels = np.stack([x, y, 255 - x], axis=2).astype(np.uint8)
    write(tmp_path / "a.gif", np.stack([pixels, pixels[::-1]]), WriteOptions(64, 48, Fraction(10), "gif"))
    frames, _ = read(tmp_path / "a.gif")
    assert np.abs(frames[0].astype(int) - pixels).mean() < 8
    assert np.abs(frames[1].astype(int) - pixels[::-1]).mean() < 8


@pytest.mark.parametrize(("codec", "container", "words"), [
    ("h264", "webm", "can't hold H.264"),
    ("prores", "mp4", "can't hold ProRes"),
    ("vp9", "mov", "can't hold VP9"),
    ("ffv1", "mp4", "can't hold FFV1"),
    ("av1", "mov", "can't hold AV1"),
    ("mpeg2", "mp4", "no codec"),
    ("h264", "gif", "no codec to choose"),
    ("h264", "png", "no codec to choose"),
])  # fmt: skip
def test_a_codec_that_its_container_cannot_hold_is_refused(codec, container, words):
    with pytest.raises(UsageError, match=words) as caught:
        codec_of(codec, container)
    assert caught.value.hint


@pytest.mark.parametrize("wrong", [
    {"codec": "ffv1", "container": "mkv", "crf": 18},
    {"codec": "ffv1", "container": "mkv", "preset": "fast"},
    {"codec": "prores", "container": "mov", "crf": 18},
    {"codec": "prores", "container": "mov", "pix_fmt": "yuv420p"},
    {"codec": "prores", "container": "mov", "preset": "4444", "pix_fmt": "yuv422p10le"},
    {"codec": "prores", "container": "mov", "preset": "hq", "pix_fmt": "yuv444p10le"},
    {"codec": "av1", "container": "mp4", "pix_fmt": "yuv444p"},
    {"codec": "av1", "container": "mp4", "crf": 64},
    {"codec": "av1", "container": "mp4", "preset": "fast"},
    {"codec": "vp9", "container": "webm", "preset": "9"},
    {"codec": "h264", "container": "mp4", "preset": "warp"},
    {"codec": "h264", "container": "mp4", "pix_fmt": "rgb24"},
    {"codec": "hevc", "container": "mp4", "width": 8},
    {"codec": "h264", "container": "mp4", "height": 16_385},
    {"container": "gif", "crf": 3},
    {"container": "gif", "audio": Path("a.m4a")},
    {"container": "gif", "rate": Fraction(120)},
    {"container": "png", "pix_fmt": "rgb24"},
    {"container": "avi"},
])  # fmt: skip
def test_what_does_not_go_together_is_refused_before_anything_runs(wrong):
    with pytest.raises(UsageError):
        WriteOptions(**{"width": 64, "height": 48, "rate": Fraction(25), **wrong})


@pytest.mark.parametrize(("name", "chosen", "container"), [
    ("-", None, "mp4"), ("-", "mkv", "mkv"), ("a.webm", None, "webm"), ("a.GIF", None, "gif"),
    ("a%03d.png", None, "png"),    ("folder", "png", "png"), ("film", "mkv", "mkv"), ("a.mp4", "mp4", "mp4"),
])  # fmt: skip
def test_the_container_follows_the_name_or_the_choice(name, chosen, container):
    assert container_of(Path(name), chosen) == container


@pytest.mark.parametrize(
    ("name", "chosen"), [("a.mp4", "mkv"), ("-", "gif"), ("-", "png"), ("a", "avi"), ("folder", None)]
)
def test_a_choice_that_contradicts_the_name_is_refused(name, chosen):
    with pytest.raises(UsageError):
        container_of(Path(name), chosen)


@pytest.mark.parametrize(
    ("preset", "pix_fmt"), [("proxy", "yuv422p10le"), ("hq", "yuv422p10le"), ("4444", "yuv444p12le")]
)
def test_prores_profiles_are_written(tmp_path, preset, pix_fmt):
    write(tmp_path / "a.mov", numbered(range(3), 64, 48), options_for("prores", "mov", preset=preset))
    frames, reader = read(tmp_path / "a.mov")
    assert read_numbers(frames) == [0, 1, 2]
    assert reader.info.pix_fmt == pix_fmt  # FFmpeg decodes ProRes 4444 as 12 bits


def test_hevc_in_mp4_has_the_tag_that_apple_s_players_want(tmp_path):
    write(tmp_path / "a.mp4", numbered(range(3), 64, 48), options_for("hevc", "mp4"))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
def test_a_lower_crf_loses_less(tmp_path, codec, rng):
    pixels = rng.integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
    errors = []
    for crf in (2, 45):
        container = CODECS[codec].containers[0]
        write(tmp_path / f"a.{container}", pixels, options_for(codec, container, crf=crf, pix_fmt="yuv444p"))
        errors.append(np.abs(np.stack(read(tmp_path / f"a.{container}")[0]).astype(int) - pixels).mean())
    assert errors[0] < errors[1] / 3


ALL_CODECS = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from cogvae_cli.io.codecs import CODECS
from cogvae_cli.io.video_writer import VideoWriter
from cogvae_cli.io.write_options import WriteOptions
for codec, facts in CODECS.items():
    container = facts.containers[0]
    options = WriteOptions(65, 49, Fraction(25), container, codec=codec)
    with VideoWriter(Path(sys.argv[1]) / f"a.{container}", options) as writer:
        writer.write(np.zeros((3, 49, 65, 3), np.uint8))
"""


def test_encoders_print_nothing(tmp_path):
    """In a process of its own: SVT-AV1 decides once whether it prints."""
    done = subprocess.run([sys.executable, "-c", ALL_CODECS, str(tmp_path)], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
