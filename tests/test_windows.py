"""Long videos cut into clips of so many frames: the right frames, the right names, and going on in the middle."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from batch_runs import json_lines, rows_of, values_of, write_clips
from media import read_numbers, write_numbered

from cogvae_cli.cli.main import main
from cogvae_cli.errors import UsageError, VideoError
from cogvae_cli.io.latents import read_header, read_latents
from cogvae_cli.io.read_options import ReadOptions, Window
from cogvae_cli.io.windows import Windows
from cogvae_cli.pipeline.encode import EncodeOptions, encode_file

pytestmark = pytest.mark.xdist_group("batch")

SIZE = (64, 48)
RATE = Fraction(25)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """32 frames that show their numbers, 25 a second."""
    return write_numbered(tmp_path_factory.mktemp("long") / "long.mp4", 32, SIZE)


def numbers_of(video: Path, window: str, first: int = 0, **options) -> dict[int, list[int]]:
    """The frames of each window, by its start."""
    asked = ReadOptions(window=Window.parse(window), **options)
    found = {}
    with Windows(video, asked, first) as windows:
        for cut in windows:
            with cut.open() as reader:
                found[cut.start] = read_numbers(reader.frames())
                assert reader.timing.frames == len(found[cut.start])
                assert reader.record()["start_frame"] == str(cut.start)
    return found


@pytest.mark.parametrize(
    ("window", "length", "starts"),
    [
        ("all", 9, [0, 9, 18]),
        ("all", 32, [0]),
        ("every:4", 9, [0, 4, 8, 12, 16, 20]),
        ("every:20", 5, [0, 20]),
        ("every:100", 1, [0]),
    ],
)
def test_windows_are_whole_and_start_where_they_should(window, length, starts, video):
    wanted = {start: list(range(start, start + length)) for start in starts}
    assert numbers_of(video, window, frames=length) == wanted


def test_going_on_in_the_middle_gives_the_rest(video):
    whole = numbers_of(video, "every:4", frames=9)
    assert numbers_of(video, "every:4", first=12, frames=9) == {start: whole[start] for start in (12, 16, 20)}


def test_a_short_video_is_one_clip_and_nothing_is_left_after_the_last(video):
    assert numbers_of(video, "all", frames=49) == {0: list(range(32))}
    with pytest.raises(VideoError, match="no clip of 9 frames from frame 27"):
        numbers_of(video, "all", first=27, frames=9)


def test_the_part_and_the_rate_are_chosen_before_the_video_is_cut(video):
    found = numbers_of(video, "all", frames=4, fps=RATE / 2, start=8 / RATE)
    assert found == {0: [8, 10, 12, 14], 4: [16, 18, 20, 22], 8: [24, 26, 28, 30]}


def test_the_middle_of_a_video_is_taken(video, tmp_path):
    reading = ReadOptions(frames=9, window=Window.parse("center"))
    encode_file(video, tmp_path / "a.npz", model="tiny", options=EncodeOptions(reading=reading))
    header, _ = read_header(tmp_path / "a.npz")
    assert (header.settings["window"], header.settings["start_frame"], header.frames.count) == ("center", "11", 9)
    same = ReadOptions(frames=9, start=11 / RATE)
    encode_file(video, tmp_path / "b.npz", model="tiny", options=EncodeOptions(reading=same))
    one, other = (read_latents(tmp_path / name).arrays["latents"] for name in ("a.npz", "b.npz"))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "x.npz", "--window", "all", "--frames", "9"], "makes several clips of a video"),
        (["-o", "x.npz", "--window", "center"], "needs the length of a clip"),
        (["-o", "x.npz", "--window", "every:0", "--frames", "9"], "'every:0' is no window"),
        (["--out-dir", "x", "--window", "all", "--frames", "9", "--posterior", "sample"], "the same noise"),
    ],
)
def test_windows_that_make_no_sense_are_refused(arguments, says, video, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["encode", str(video), "--model", "tiny", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_windows_need_a_length():
    with pytest.raises(UsageError, match="--window all needs the length of a clip"):
        ReadOptions(window=Window("all"))


def test_a_batch_cuts_videos_and_goes_on_in_the_middle_of_one(tmp_path, capsys):
    clips, out = tmp_path / "clips", tmp_path / "out"
    write_clips(clips, {"a/long.mp4": 29, "short.mp4": 5})
    arguments = ["encode", str(clips), "-r", "--out-dir", str(out), "--model", "tiny", "--window", "all"]
    arguments += ["--frames", "9", "--json"]
    assert main(arguments) == 0
    lines = json_lines(capsys.readouterr().out)
    assert (lines[-1]["clips"], lines[-1]["done"]) == (4, 4)
    rows, values = rows_of(out), values_of(out)
    names = ["a/long-000000.npz", "a/long-000009.npz", "a/long-000018.npz", "short-000000.npz"]
    assert sorted(rows) == sorted(values) == names
    assert [rows[name]["start_frame"] for name in names] == [0, 9, 18, 0]
    assert [rows[name]["is_last_window"] for name in names] == [False, False, True, True]
    assert [rows[name]["frames"] for name in names] == [9, 9, 9, 5]
    single = EncodeOptions(reading=ReadOptions(frames=9, start=Fraction(9, 20)))  # write_clips gives it that rate
    encode_file(clips / "a/long.mp4", tmp_path / "one.npz", model="tiny", options=single)
    assert read_latents(tmp_path / "one.npz").sha256 == values["a/long-000009.npz"]

    kept = [rows["a/long-000000.npz"], rows["short-000000.npz"]]  # as if it had been killed before the others
    (out / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    for name in names[1:3]:
        (out / name).unlink()
    assert main(arguments) == 0
    lines = json_lines(capsys.readouterr().out)
    statuses = {line["output"]: line["status"] for line in itertools.islice(lines, len(lines) - 1)}
    assert statuses == dict(zip(names, ["skipped", "done", "done", "skipped"], strict=True))
    assert values_of(out) == values
    assert lines[-1]["clips"] == 4
