"""Reading a whole video in a test, the refusal of one, and the kinds of file that people ordinarily have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from media import LOSSLESS, Coding

from cogvae_cli.errors import VideoError
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.video_reader import VideoReader

H264 = Coding()
B_FRAMES = Coding(options={"bf": "3", "b-adapt": "0", "g": "100"})
HEVC = Coding("libx265", options={"x265-params": "log-level=none:pools=none"})
VP9 = Coding("libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})
AV1 = Coding("libsvtav1", options={"preset": "12", "svtav1-params": "lp=1"})
FILES = {
    "h264.mp4": B_FRAMES,
    "h264.mov": H264,
    "h264.mkv": H264,
    "h264.ts": H264,
    "h264.flv": H264,
    "hevc.mp4": HEVC,
    "hevc.mkv": HEVC,
    "vp9.webm": VP9,
    "vp9.mp4": VP9,
    "av1.mp4": AV1,
    "av1.webm": AV1,
    "vp8.webm": Coding("libvpx"),
    "mpeg4.avi": Coding("mpeg4", options={"b": "2M"}),
    "ffv1.mkv": LOSSLESS,
    "mjpeg.mov": Coding("mjpeg", "yuvj420p"),
    "prores.mov": Coding("prores_ks", "yuv422p10le"),
    "rgb.mkv": Coding("libx264rgb", "rgb24", {"qp": "0"}),
    "fragmented.mp4": Coding(muxer_options={"movflags": "frag_keyframe+empty_moov"}),
    "live.mkv": Coding(muxer_options={"live": "1"}),
}


def read(path: Path, options: ReadOptions | None = None) -> tuple[list[np.ndarray], VideoReader]:
    """All frames of a video, and the reader as it is after the last one."""
    with VideoReader(path, options) as reader:
        return list(reader.frames()), reader


def refusal(path: Path, options: ReadOptions | None = None) -> VideoError:
    """The one line with which a video is refused."""
    with pytest.raises(VideoError) as caught:
        read(path, options)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value
