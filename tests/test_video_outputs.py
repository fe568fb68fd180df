"""Where videos go: pictures, folders, sound of another file, standard output; whole or not there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import ffmpeg, numbered, read_numbers, write_numbered
from PIL import Image
from reading import read

from cogvae_cli.errors import OutputError, OutputExistsError, UsageError, VideoError
from cogvae_cli.io.destinations import check_video, size_of, video_writer
from cogvae_cli.io.video_writer import VideoWriter
from cogvae_cli.io.write_options import WriteOptions

PNG = WriteOptions(64, 48, Fraction(25), "png")


def write(path: Path, frames: np.ndarray, options: WriteOptions, *, overwrite: bool = False) -> None:
    check_video(path, options, frames=len(frames), overwrite=overwrite)
    with video_writer(path, options, overwrite=overwrite) as writer:
        writer.write(frames)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_numbered_pictures_are_exact_and_count_from_1(tmp_path):
    frames = numbered(range(12), 64, 48)
    write(tmp_path / "out%04d.png", frames, PNG)
    assert names(tmp_path) == [f"out{number:04d}.png" for number in range(1, 13)]
    got, _ = read(tmp_path / "out%04d.png")
    assert np.array_equal(np.stack(got), frames)
    assert size_of(tmp_path / "out%04d.png") == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_folder_of_pictures_is_exact(tmp_path):
    frames = numbered(range(12), 64, 48)
    for folder in (tmp_path / "new", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        write(folder, frames, PNG)
        assert names(folder)[:2] == ["frame000001.png", "frame000002.png"]
        assert np.array_equal(np.stack(read(folder)[0]), frames)
    assert names(tmp_path) == ["empty", "new"]


def test_one_picture_holds_one_frame(tmp_path):
    frames = numbered(range(2), 64, 48)
    write(tmp_path / "a.png", frames[:1], PNG)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), frames[0])
    with pytest.raises(UsageError, match="one picture can't hold 2 frames"):
        write(tmp_path / "b.png", frames, PNG)
    assert names(tmp_path) == ["a.png"]


def test_pictures_that_are_there_are_kept_without_y_and_all_replaced_with_it(tmp_path):
    write(tmp_path / "a%03d.png", numbered(range(9), 64, 48), PNG)
    write(tmp_path / "folder", numbered(range(9), 64, 48), PNG)
    for output in (tmp_path / "a%03d.png", tmp_path / "folder"):
        with pytest.raises(OutputExistsError):
            write(output, numbered(range(20, 25), 64, 48), PNG)
        assert read_numbers(read(output)[0]) == list(range(9))
        write(output, numbered(range(20, 25), 64, 48), PNG, overwrite=True)
        assert read_numbers(read(output)[0]) == list(range(20, 25))
    assert len(names(tmp_path)) == 6


def test_a_folder_with_somebody_s_files_is_never_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "holiday.png").write_bytes(b"precious")
    for overwrite in (False, True):
        with pytest.raises(OutputExistsError):
            write(tmp_path / "folder", numbered(range(3), 64, 48), PNG, overwrite=overwrite)
    assert names(tmp_path / "folder") == ["holiday.png"]


def test_a_link_to_a_folder_is_not_written_through(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="symbolic link"):
        write(tmp_path / "link", numbered(range(3), 64, 48), PNG, overwrite=True)
    assert names(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("name", ["a%03d.png", "folder", "a.png", "a.mp4", "a.gif"])
def test_a_failure_leaves_nothing_and_what_was_there_is_whole(tmp_path, name):
    options = PNG if name in ("a%03d.png", "folder", "a.png") else WriteOptions(64, 48, Fraction(25), name[2:])
    frames = numbered(range(1 if name == "a.png" else 5), 64, 48)
    write(tmp_path / name, frames, options)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with contextlib.suppress(KeyboardInterrupt), video_writer(tmp_path / name, options, overwrite=True) as writer:
        writer.write(frames[:1] // 2)
        raise KeyboardInterrupt
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_a_killed_process_left_of_a_folder_is_removed(tmp_path):
    leftover = tmp_path / ".folder.0123456789abcdef.part"
    leftover.mkdir()
    (leftover / "frame000001.png").write_bytes(b"half")
    write(tmp_path / "folder", numbered(range(2), 64, 48), PNG)
    assert names(tmp_path) == ["folder"]


def test_an_input_is_not_overwritten_by_its_own_pictures(tmp_path):
    write(tmp_path / "folder", numbered(range(2), 64, 48), PNG)
    inputs = tuple((tmp_path / "folder").iterdir())
    with pytest.raises(UsageError, match="is the input"):
        check_video(tmp_path / "folder", PNG, frames=2, overwrite=True, inputs=inputs)


@pytest.fixture(scope="module")
def sounding(tmp_path_factory) -> Path:
    """A second of video with a tone of AAC beside it that starts with the video."""
    folder = tmp_path_factory.mktemp("sound")
    write_numbered(folder / "video.mp4", 25)
    tone = ["-f", "lavfi", "-i", "sine=f=440:r=44100:d=1"]
    ffmpeg(*tone, "-i", folder / "video.mp4", "-c:v", "copy", "-c:a", "aac", "-map", "1", "-map", "0", folder / "a.mp4")
    return folder / "a.mp4"


def sound_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(frames)


def packets_of(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.best(kind)
        assert stream is not None
        tick = Fraction(int(stream.time_base.numerator), int(stream.time_base.denominator))
        return [(packet.pts * tick, bytes(packet)) for packet in container.demux(stream) if packet.pts is not None]


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_sound_is_copied_packet_by_packet(tmp_path, sounding, container):
    path = tmp_path / f"b.{container}"
    write(path, numbered(range(25), 64, 48), WriteOptions(64, 48, Fraction(25), container, audio=sounding))
    frames, reader = read(path)
    assert read_numbers(frames) == list(range(25))
    assert not reader.timing.variable
    before = {data: time for time, data in packets_of(sounding, "audio")}
    after = packets_of(path, "audio")
    assert len(after) >= len(before) - 1  # mkv can't hold the packet before 0
    start = packets_of(path, "video")[0][0]
    for time, data in after:
        assert abs(time - start - before[data]) < Fraction(1, 400)
    assert np.abs(sound_of(path)).max() > 0.05


def test_sound_ends_with_the_video_and_starts_where_it_does(tmp_path, sounding):
    options = WriteOptions(64, 48, Fraction(25), "mkv", audio=sounding, audio_start=Fraction(2, 5))
    write(tmp_path / "b.mkv", numbered(range(10), 64, 48), options)
    times = {data: time for time, data in packets_of(sounding, "audio")}
    after = packets_of(tmp_path / "b.mkv", "audio")
    assert len(after) in (17, 18)  # of 1024 samples at 44100 Hz in 0.4 s
    for time, data in after:
        assert abs(time - (times[data] - Fraction(2, 5))) < Fraction(1, 400)


def test_sound_that_cannot_be_copied_is_refused_first(tmp_path, sounding):
    silent = write_numbered(tmp_path / "silent.mp4", 3)
    with pytest.raises(VideoError, match="has no sound"):
        check_video(tmp_path / "b.mp4", WriteOptions(64, 48, Fraction(25), audio=silent), frames=3, overwrite=False)
    webm = WriteOptions(64, 48, Fraction(25), "webm", audio=sounding)
    with pytest.raises(UsageError, match=r"can't hold the sound .* \(aac\)"):
        check_video(tmp_path / "b.webm", webm, frames=3, overwrite=False)


class Pipe:
    """Takes bytes and can't be sought in."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


@pytest.mark.parametrize("container", ["mp4", "mkv", "webm"])
def test_a_video_can_be_written_to_what_has_no_way_back(tmp_path, container):
    pipe = Pipe()
    with VideoWriter(pipe, WriteOptions(64, 48, Fraction(30000, 1001), container)) as writer:
        writer.write(numbered(range(20), 64, 48))
    (tmp_path / f"a.{container}").write_bytes(pipe.data)
    frames, reader = read(tmp_path / f"a.{container}")
    assert read_numbers(frames) == list(range(20))
    assert reader.timing.rate == Fraction(30000, 1001)


WRITE = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from cogvae_cli.io.destinations import video_writer
from cogvae_cli.io.write_options import WriteOptions
options = WriteOptions(64, 48, Fraction(25), sys.argv[1])
frames = np.random.default_rng(1).integers(0, 256, (int(sys.argv[2]), 48, 64, 3), dtype=np.uint8)
with video_writer(Path("-"), options, overwrite=False) as writer:
    writer.write(frames)
"""


def test_standard_output_gets_the_video_and_nothing_else(tmp_path):
    for container in ("mp4", "mkv"):
        done = subprocess.run([sys.executable, "-c", WRITE, container, "12"], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        (tmp_path / f"a.{container}").write_bytes(done.stdout)
        assert len(read(tmp_path / f"a.{container}")[0]) == 12


def test_a_reader_that_goes_away_ends_the_writer(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITE, "mkv", "400"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert len(child.stdout.read(100)) == 100
    child.stdout.close()
    _, errors = child.communicate(timeout=60)
    assert child.returncode != 0
    assert b"BrokenPipe" in errors


def test_a_terminal_gets_no_video():
    main, other = os.openpty()
    done = subprocess.run([sys.executable, "-c", WRITE, "mp4", "1"], stdout=other, stderr=subprocess.PIPE, check=False)
    os.close(main)
    os.close(other)
    assert b"standard output is a terminal" in done.stderr


def test_a_full_disk_behind_standard_output_is_named():
    for container in ("mp4", "mkv"):
        with Path("/dev/full").open("wb") as full:
            command = [sys.executable, "-c", WRITE, container, "12"]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode != 0
        assert "OutputError: standard output can't be written (No space left on device)" in done.stderr
