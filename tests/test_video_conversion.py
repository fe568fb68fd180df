"""Decoded frames as RGB: the fast way gives the values of the plain one, and each frame is taken at its own word."""

from __future__ import annotations

import itertools

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from cogvae_cli.io.colours import EXACT, RgbConverter


@pytest.mark.parametrize(
    "pix_fmt",
    [
        "yuv420p",
        "yuv422p",
        "yuv444p",
        "yuv440p",
        "yuv411p",
        "yuvj420p",
        "nv12",
        "p010le",
        "yuv420p10le",
        "yuv422p10be",
        "yuv444p12le",
    ],
)
@pytest.mark.parametrize("size", [(64, 48), (33, 17), (130, 66), (1, 1)], ids=lambda size: "{}x{}".format(*size))
def test_planes_put_together_are_the_pixels_that_ffmpeg_packs(rng, pix_fmt, size):
    """To the bit, on noise of the whole range, in each matrix and range."""
    frame, reformatter = noise(rng, pix_fmt, size), VideoReformatter()
    for (number, space), full in itertools.product(((5, Colorspace.ITU601), (1, Colorspace.ITU709)), (False, True)):
        frame.colorspace, frame.color_range = number, ColorRange.JPEG if full else ColorRange.MPEG
        levels = ColorRange.JPEG if full or pix_fmt.startswith("yuvj") else ColorRange.MPEG
        packed = reformatter.reformat(
            frame,
            format="rgb24",
            src_colorspace=space,
            src_color_range=levels,
            dst_color_range=ColorRange.JPEG,
            interpolation=EXACT,
            threads=1,
        )
        np.testing.assert_array_equal(RgbConverter().convert(frame), packed.to_ndarray())


def test_frames_that_say_something_else_are_converted_by_that(rng):
    """One converter, frame after frame: matrix and range are each frame's own."""
    frame, one = noise(rng, "yuv420p", (64, 48)), RgbConverter()
    seen = []
    for number, levels in itertools.product((5, 1), (ColorRange.MPEG, ColorRange.JPEG)):
        frame.colorspace, frame.color_range = number, levels
        seen.append(one.convert(frame))
        np.testing.assert_array_equal(seen[-1], RgbConverter().convert(frame))
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(seen, 2))


def noise(rng, pix_fmt, size):
    """A frame of any values that its samples can have."""
    frame = av.VideoFrame(*size, pix_fmt)
    bits = next((bits for bits in (10, 12, 16) if str(bits) in pix_fmt.removeprefix("p0").removeprefix("yuv4")), 8)
    for plane in frame.planes:
        samples = rng.integers(0, 1 << bits, plane.buffer_size // (1 if bits == 8 else 2))
        samples <<= 6 if pix_fmt == "p010le" else 0
        kind = "u1" if bits == 8 else ">u2" if pix_fmt.endswith("be") else "<u2"
        plane.update(samples.astype(kind).tobytes())
    return frame
