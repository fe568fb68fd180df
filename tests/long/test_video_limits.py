"""Video within its limits: memory at any length and size, and what killing and full disks leave behind."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from media import LOSSLESS, Coding, ffmpeg, numbered, read_numbers, write_frames, write_numbered
from PIL import Image
from whole_outputs import made, put

from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.video_reader import VideoReader

pytestmark = pytest.mark.long

MEGABYTE = 1_000_000
LENGTH_BOUND = 10 * MEGABYTE
"""What 20,000 frames may take more than 200, at 32x24; measured: 1.5 MB."""
SIZE_BOUND = 2_000 * MEGABYTE
"""What reading 8192x8192 may take: a chunk's frames are 201 MB each, and there are four; measured: 1,476 MB."""
LEAK_BOUND = 5 * MEGABYTE

READ = """
import gc, json, sys
from pathlib import Path
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.video_reader import VideoReader

def high():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

def read(path):
    count = 0
    with VideoReader(Path(path), ReadOptions(max_pixels=10**8)) as reader:
        for chunk in reader.chunks(9, 8):
            count += len(chunk)
    return count

read(sys.argv[1])
gc.collect()
before = high()
count = read(sys.argv[2])
print(json.dumps({"frames": count, "more": high() - before, "high": high()}))
"""


def memory_of(first: Path, second: Path) -> dict[str, int]:
    """Frames of the second file, and what reading it took at its highest above the first."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(first), str(second)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_20000_frames_take_the_memory_of_200(tmp_path, name):
    fast = Coding(options={"preset": "ultrafast"})
    short, long = (write_numbered(tmp_path / f"{n}-{name}", n, (32, 24), coding=fast) for n in (200, 2000))
    listing = "".join(f"file '{long}'\n" for _ in range(10))
    (tmp_path / "list").write_text(listing)
    ffmpeg("-f", "concat", "-safe", "0", "-i", tmp_path / "list", "-c", "copy", tmp_path / name)
    seen = memory_of(short, tmp_path / name)
    assert seen["frames"] == 20_000
    assert seen["more"] < LENGTH_BOUND, seen


def test_frames_of_8192x8192_stay_within_the_bound(tmp_path):
    small = write_numbered(tmp_path / "small.webm", 9, coding=Coding("libvpx-vp9"))
    source = ["-f", "lavfi", "-i", "testsrc2=s=8192x8192:r=25", "-frames:v", "4"]
    for name, codec in (("a.webm", ["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]), ("a.mp4", ["libx264"])):
        fast = [] if name == "a.webm" else ["-preset", "ultrafast"]
        ffmpeg(*source, "-c:v", *codec, *fast, tmp_path / name, seconds=1200)
        seen = memory_of(small, tmp_path / name)
        assert seen["frames"] == 4
        assert seen["high"] < SIZE_BOUND, seen


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("name", ["h264.mp4", "alpha.webm", "pictures", "deinterlaced.mp4", "hdr.mp4"])
def test_200_opens_leave_no_memory_behind(tmp_path, name):
    path, options = tmp_path / name, ReadOptions(hdr="tonemap", deinterlace=name.startswith("de"), size=(40, 40))
    if name == "pictures":
        path.mkdir()
        for number, frame in enumerate(numbered(range(3), 128, 96)):
            Image.fromarray(frame).save(path / f"{number}.png")
    elif name == "alpha.webm":
        colour = "color=red@0.4:s=128x96:d=0.4,format=yuva420p"
        ffmpeg("-f", "lavfi", "-i", colour, "-c:v", "libvpx-vp9", "-b:v", "200k", path)
    else:
        hdr = {"matrix": 9, "primaries": 9, "transfer": 16} if name == "hdr.mp4" else {}
        write_numbered(path, 10, (128, 96), coding=Coding(**hdr))

    def use(times: int) -> None:
        for _ in range(times):
            with VideoReader(path, options) as reader:
                next(reader.frames())

    use(40)
    before = resident()
    use(200)
    assert resident() - before < LEAK_BOUND


WRITE = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from whole_outputs import made, put
from cogvae_cli.errors import OutputError
path, container, codec = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
contents = [made(container, seed) for seed in (1, 2)]

def write(which):
    put(path, container, codec, contents[which])
"""

KILLED = (
    WRITE
    + """
print("ready", flush=True)
while True:
    write(0)
    write(1)
"""
)

FILLED = (
    WRITE
    + """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in map(int, sys.argv[4:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write(1)
        print("written")
    except OutputError:
        print("refused", len(list(path.parent.iterdir())))
"""
)

KINDS = [("a.mp4", "mp4", ""), ("a.mkv", "mkv", "ffv1"), ("a.gif", "gif", ""), ("folder", "png", "")]
KINDS += [("z.npz", "npz", ""), ("z.safetensors", "safetensors", "")]


def contents(path: Path) -> dict[str, bytes]:
    """What an output holds: the bytes of its files by their names."""
    files = sorted(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    return {file.name: file.read_bytes() for file in files}


def write(path: Path, container: str, codec: str, seed: int) -> dict[str, bytes]:
    put(path, container, codec, made(container, seed))
    return contents(path)


@pytest.mark.parametrize(("name", "container", "codec"), KINDS)
def test_killing_at_50_random_moments_loses_nothing(tmp_path, name, container, codec):
    path = tmp_path / name
    whole = [write(path, container, codec, seed) for seed in (1, 2)]
    chance = random.Random(name)
    for _ in range(50):
        command = [sys.executable, "-c", KILLED, str(path), container, codec]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(chance.random() * 0.05)
            child.send_signal(signal.SIGKILL)
        assert contents(path) in whole
    write(path, container, codec, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("name", "container", "codec"), KINDS)
def test_a_full_disk_at_20_random_offsets_loses_nothing(tmp_path, name, container, codec):
    path = tmp_path / name
    write(path, container, codec, 2)
    old = write(path, container, codec, 1)
    largest = max(len(data) for data in old.values())
    chance = random.Random(name)
    limits = [str(chance.randrange(largest - 300)) for _ in range(20)]
    command = [sys.executable, "-c", FILLED, str(path), container, codec, *limits]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["refused 1"] * 20
    assert contents(path) == old


def test_lossless_video_of_a_thousand_frames_comes_back_to_the_bit(tmp_path):
    path = write_frames(tmp_path / "a.mkv", (numbered([n], 64, 48)[0] for n in range(1000)), coding=LOSSLESS)
    with VideoReader(path) as reader:
        assert read_numbers(reader.frames()) == list(range(1000))
