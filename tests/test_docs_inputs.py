"""docs/inputs.md is what really happens: a row a kind, made by reading a file of it. WRITE_DOCS=1 writes it anew."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest
from inputs import (
    SAID,
    Make,
    animated,
    broadcast,
    covered,
    cut,
    cut_photo,
    edited,
    holding,
    joined,
    lossy,
    pattern,
    photo,
    photo_in_tiff,
    pictures,
    plain,
    remade,
    remade_and_cut,
    renamed,
    see_through,
    several,
    solid,
    sound,
    spoilt,
    tuned_in,
    varying,
)
from media import Coding, read_numbers
from reading import AV1, B_FRAMES, FILES, H264, HEVC, read

from cogvae_cli.errors import VideoError
from cogvae_cli.io.rates import parse_rate
from cogvae_cli.io.read_options import ReadOptions, parse_seconds
from cogvae_cli.io.video_reader import VideoReader
from cogvae_cli.pipeline.options import parse_size

HEADING = "| input | options | what cogvae does | what is right |\n|---|---|---|---|\n"
END = "<!-- end of the table -->\n"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One row. What is expected: the numbers that are shown, a size, a colour, or None for a refusal."""

    title: str
    make: Make
    asked: str
    right: str
    expected: list[int] | tuple[int, ...] | None = None


ALL, TWELVE = list(range(20)), list(range(12))
GOOD: list[int] = []
"""In place of numbers: any count of frames, 0, 1, 2, …"""
RED, BRICK = (200, 60, 40), "RGB 200 60 40"
HDR = Coding("libx265", "yuv420p10le", HEVC.options, matrix=9, primaries=9, transfer=16, full=False)
SAID_OF_LIGHT = ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(40000000,50)"
BRIGHT = dataclasses.replace(HDR, options={"x265-params": HEVC.options["x265-params"] + SAID_OF_LIGHT})
INTERLACED = Coding(options={"flags": "+ildct+ilme", "x264-params": "tff=1"}, matrix=6)
FASTSTART = Coding(muxer_options={"movflags": "faststart"})
ODD = Coding(pix_fmt="yuv444p")
SHOWN = [0, 2, 3, 3, 5, 5, 5, 5, 7, 7, 7, 7, 7, 7, 7, 8]

LATER = list(range(5, 20))
live_cut = remade_and_cut("a.mkv", "-c:v", "libx264", "-live", "1")
ogg_cut = remade_and_cut("a.ogv", "-c:v", "libtheora", "-q:v", "9")
fragments = "dash+frag_keyframe+empty_moov+global_sidx"
dash_cut = remade_and_cut("a.mp4", "-c:v", "libx264", "-g", "5", "-movflags", fragments)

KINDS = [
    Kind("H.264 in MP4, B-frames", plain("a.mp4", B_FRAMES), "", "all 20, in the order they are shown", ALL),
    Kind("HEVC in MP4", plain("a.mp4", HEVC), "", "all 20", ALL),
    Kind("AV1 in WebM", plain("a.webm", AV1), "", "all 20", ALL),
    Kind("VP9 in WebM", plain("a.webm", FILES["vp9.webm"]), "", "all 20", ALL),
    Kind("VP8 in WebM", plain("a.webm", FILES["vp8.webm"]), "", "all 20", ALL),
    Kind("ProRes in MOV, 10 bits", plain("a.mov", FILES["prores.mov"]), "", "all 20", ALL),
    Kind("FFV1 in Matroska, RGB", plain("a.mkv", FILES["ffv1.mkv"]), "", "all 20", ALL),
    Kind("H.264, 10 bits", plain("a.mp4", Coding(pix_fmt="yuv420p10le")), "", "all 20", ALL),
    Kind("Grey", plain("a.mkv", Coding("ffv1", "gray")), "", "all 20", ALL),
    Kind("MPEG transport stream", plain("a.ts", H264), "", "all 20, though it names no count", ALL),
    Kind("Fragmented MP4", plain("a.mp4", FILES["fragmented.mp4"]), "", "all 20, though it names no count", ALL),
    Kind("Matroska written live", plain("a.mkv", FILES["live.mkv"]), "", "all 20, though it names no length", ALL),
    Kind("AVI", plain("a.avi", FILES["mpeg4.avi"]), "", "all 20", ALL),
    Kind("Raw H.264", plain("a.h264", B_FRAMES), "", "all 20, at the rate of the stream", ALL),
    Kind("Odd width and height", plain("a.mp4", ODD, size=(65, 49)), "", "65x49", (65, 49)),
    Kind("Late first time stamp", remade("a.ts", "-output_ts_offset", "10"), "", "all 20, from 0 s on", ALL),
    Kind("Its first frames left out by an edit list", edited, "", "the others", list(range(8, 20))),
    Kind("Transport stream from the middle of a group on", tuned_in, "", "all from the next key frame on", LATER),
    Kind("Joined transport streams, from 10 s and from 500 s", broadcast(10, 500), "", "all, end to end", [*ALL, *ALL]),
    Kind("Rotated", remade("a.mp4", before=("-display_rotation", "90")), "", "upright: 48x64", (48, 64)),
    Kind("Rotated", remade("a.mp4", before=("-display_rotation", "90")), "--no-autorotate", "as stored", (64, 48)),
    Kind("Mirrored", remade("a.mp4", before=("-display_hflip",)), "", "mirrored back, not rotated", (64, 48)),
    Kind("Pixels twice as wide as high", remade("a.mp4", "-aspect", "8:3"), "", "stretched: 128x48", (128, 48)),
    Kind("Varying frame rate", varying, "", "all 9, each at its own time", list(range(9))),
    Kind("Varying frame rate", varying, "--fps 12.5", "what is on the screen every 0.08 s", SHOWN),
    Kind("A part", plain("a.mkv", H264), "--start 0.4 --duration 0.2", "10 to 14", [10, 11, 12, 13, 14]),
    Kind("Another size", plain("a.mkv", H264), "--size 32x32", "cropped to 32x32", (32, 32)),
    Kind("BT.601, limited", solid("bt601", 6, False), "", BRICK, RED),
    Kind("BT.601, full", solid("bt601", 6, True), "", BRICK, RED),
    Kind("BT.709, limited", solid("bt709", 1, False), "", BRICK, RED),
    Kind("BT.709, full", solid("bt709", 1, True), "", BRICK, RED),
    Kind("BT.2020, limited", solid("bt2020", 9, False), "", BRICK, RED),
    Kind("No matrix named, 64x48 in BT.601", solid("bt601", 2, False), "", BRICK, RED),
    Kind("No matrix named, 1280x720 in BT.709", solid("bt709", 2, False, (1280, 720)), "", BRICK, RED),
    Kind("Wrong matrix named", solid("bt709", 6, False), "--colorspace bt709", BRICK, RED),
    Kind("HDR (PQ)", plain("a.mp4", HDR), "", "refused: as SDR it would look washed out"),
    Kind("HDR (PQ)", plain("a.mp4", HDR), "--hdr tonemap", "all 20, tone-mapped", ALL),
    Kind("HDR (PQ) of 4000 nits", plain("a.mp4", BRIGHT), "--hdr tonemap", "rolled off from there", ALL),
    Kind("Alpha of 0.4 in ProRes 4444", see_through("a.mov"), "", "on black: RGB 80 24 16", (80, 24, 16)),
    Kind("Alpha of 0.4 in VP9", see_through("a.webm"), "--alpha white", "on white: RGB 233 177 169", (233, 177, 169)),
    Kind("Interlaced", plain("a.mp4", INTERLACED), "", "all 20, and said", ALL),
    Kind("Interlaced", plain("a.mp4", INTERLACED), "--deinterlace", "all 20", ALL),
    Kind("Two video streams", several, "", "the one that is marked as default, and said", (128, 96)),
    Kind("Two video streams", several, "--stream 0", "the one that was asked for", (64, 48)),
    Kind("GIF with delays of its own", animated("a.gif"), "", "all 4, each at its own time", [0, 1, 2, 3]),
    Kind("APNG", animated("a.png"), "", "all 4, each at its own time", [0, 1, 2, 3]),
    Kind("Photo with an orientation", photo, "", "upright: 48x64", (48, 64)),
    Kind("Photo without its last bytes", cut_photo, "", "refused, though FFmpeg shows it with grey below"),
    Kind("TIFF that holds JPEG", photo_in_tiff, "", "refused, though FFmpeg shows it, black"),
    Kind("Folder of pictures", pictures, "", "all 12 in natural order: 2 before 10", TWELVE),
    Kind("Numbered pictures", pattern, "--fps 29.97", "all 12", TWELVE),
    Kind("A name like an address", renamed, "", "a local file like any other", ALL),
    Kind("Sound alone", sound, "", "refused"),
    Kind("Sound with a cover", covered, "", "refused: a cover is no video"),
    Kind("Empty file", holding("a.mp4", b""), "", "refused"),
    Kind("Text", holding("a.mp4", b"hello\n" * 50), "", "refused"),
    Kind("Playlist", holding("a.mp4", b"ffconcat version 1.0\nfile b.mp4\n"), "", "refused: no other file is opened"),
    Kind("MP4 without its index", cut("a.mp4", H264, 0.5), "", "refused"),
    Kind("MP4 cut at 60 %", cut("a.mp4", FASTSTART, 0.6), "", "refused, with the count of good frames"),
    Kind("Matroska cut at 60 %", cut("a.mkv", H264, 0.6), "", "refused, though FFmpeg reports no error"),
    Kind("Transport stream cut at 60 %", cut("a.ts", H264, 0.6), "", "refused, though FFmpeg reports no error"),
    Kind("Matroska cut at 60 %", cut("a.mkv", H264, 0.6), "--on-error keep", "good frames, marked; exit code 1", GOOD),
    Kind("Live Matroska cut at 67 %", live_cut, "", "refused, though FFmpeg reports no error"),
    Kind("Ogg cut at 67 %", ogg_cut, "", "refused, though FFmpeg reports no error"),
    Kind(
        "YUV4MPEG cut at 67 %",
        remade_and_cut("a.y4m", "-pix_fmt", "yuv420p"),
        "",
        "refused, though FFmpeg reports no error",
    ),
    Kind("Fragmented and indexed MP4 cut at 67 %", dash_cut, "", "refused, with the count of good frames"),
    Kind("HEVC with damaged pictures", lossy, "", "refused, though FFmpeg leaves them out without a word"),
    Kind("MP4 damaged in the middle", spoilt, "", "refused, with the count of good frames"),
    Kind("Size changes on the way", joined, "", "refused, with the frame where it does"),
    Kind("A frame over the limit", plain("a.mp4", SAID), "--max-pixels 3000", "refused before it is decoded"),
]

PARSERS = {
    "fps": parse_rate,
    "start": parse_seconds,
    "duration": parse_seconds,
    "size": parse_size,
    "stream": int,
    "max_pixels": int,
}


def options_of(asked: str) -> ReadOptions:
    """What the options of a row ask of the reader."""
    values: dict[str, object] = {}
    words = asked.split()
    while words:
        name = words.pop(0).removeprefix("--").replace("-", "_")
        if name == "no_autorotate":
            values["autorotate"] = False
        elif name == "deinterlace":
            values[name] = True
        else:
            values[name] = PARSERS.get(name, str)(words.pop(0))
    return ReadOptions(**values)


def outcome(kind: Kind, folder: Path) -> str:
    """What happens with a file of that kind, in words; fails where that isn't right."""
    path = kind.make(folder)
    options = options_of(kind.asked)
    if kind.expected is None:
        with pytest.raises(VideoError) as caught:
            read(path, options)
        hint = f" ({caught.value.hint})" if caught.value.hint else ""
        return "refuses it: " + without_bytes(caught.value.message.removeprefix(f"{path}: ")) + hint
    frames, reader = read(path, options)
    check(kind, frames)
    return without_bytes("; ".join([told(reader), *reader.notices]))


def without_bytes(text: str) -> str:
    """How long a coded file is depends on the release of the encoder."""
    return re.sub(r"ends [0-9,]+ bytes? too early", "ends some bytes too early", text)


def check(kind: Kind, frames: list[np.ndarray]) -> None:
    expected = kind.expected
    if expected is GOOD:
        assert 0 < len(frames) < 40
        assert read_numbers(frames) == list(range(len(frames)))
    elif isinstance(expected, list):
        assert read_numbers(frames) == expected, kind.title
    elif expected is not None and len(expected) == 2:
        assert frames[0].shape == (expected[1], expected[0], 3), kind.title
    else:
        assert np.abs(np.stack(frames).astype(int) - expected).max() <= 3, kind.title


def told(reader: VideoReader) -> str:
    info, timing = reader.info, reader.timing
    frames = f"{timing.frames} frame{'' if timing.frames == 1 else 's'} of {info.width}x{info.height}"
    if timing.frames == 1:
        return frames
    times = timing.times
    if times is None:
        return f"{frames} at {timing.rate} frames/s"
    shown = ", ".join(f"{float(time):g}" for time in times[:4])
    return f"{frames}, shown at {shown}, … s"


def row(kind: Kind, folder: Path) -> str:
    folder.mkdir()
    cells = (kind.title, f"`{kind.asked}`" if kind.asked else "", outcome(kind, folder), kind.right)
    return "| " + " | ".join(cell.replace("|", "\\|").replace(str(folder), "…") for cell in cells) + " |\n"


def test_the_table_of_inputs_is_what_happens(tmp_path, root):
    page = root / "docs" / "inputs.md"
    rows = "".join(row(kind, tmp_path / str(number)) for number, kind in enumerate(KINDS))
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(HEADING)
    _, _, after = rest.partition(END)
    made = before + HEADING + rows + "\n" + END + after
    if os.environ.get("WRITE_DOCS"):
        page.write_text(made, encoding="utf-8")
        return
    assert text == made
