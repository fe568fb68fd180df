"""Frames brought to one of several sizes, and mirrored."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media import LOSSLESS, quarters, write_frames

from cogvae_cli.errors import UsageError
from cogvae_cli.io.fitting import nearest_bucket, plan_of
from cogvae_cli.io.read_options import ReadOptions
from cogvae_cli.io.video_reader import VideoReader

BUCKETS = ((96, 64), (64, 96), (64, 64), (48, 48))


def read(path: Path, **options) -> tuple[np.ndarray, dict[str, str]]:
    with VideoReader(path, ReadOptions(**options)) as reader:
        frames = np.stack(list(reader.frames()))
        return frames, reader.record()


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((1920, 1080), (96, 64)),
        ((1080, 1920), (64, 96)),
        ((500, 500), (64, 64)),
        ((50, 50), (48, 48)),
        ((640, 600), (64, 64)),
        ((78, 64), (64, 64)),  # 1.22 times as wide: by factor it is nearer to 1 than to 1.5
        ((79, 64), (96, 64)),
    ],
)
def test_the_bucket_of_the_nearest_shape_is_taken(size, bucket):
    assert nearest_bucket(size, BUCKETS) == bucket
    assert plan_of(size, Fraction(1), ReadOptions(buckets=BUCKETS)).out == bucket


def test_shapes_count_as_they_are_shown(tmp_path):
    """Of 48x64 stored pixels that are twice as wide as high, 96x64 are shown."""
    assert plan_of((48, 64), Fraction(2), ReadOptions(buckets=BUCKETS)).out == (96, 64)


def test_frames_come_in_the_size_of_their_bucket_and_the_header_says_which_there_were(tmp_path):
    path = write_frames(tmp_path / "clip.mkv", [quarters((90, 60))] * 3, coding=LOSSLESS)
    frames, record = read(path, buckets=BUCKETS, fit="stretch")
    assert frames.shape == (3, 64, 96, 3)
    assert record == {"buckets": "96x64,64x96,64x64,48x48", "fit": "stretch"}


def test_a_mirrored_video_has_left_and_right_exchanged(tmp_path, rng):
    pixels = rng.integers(0, 255, (5, 48, 64, 3), np.uint8)
    path = write_frames(tmp_path / "clip.mkv", pixels, coding=LOSSLESS)
    frames, record = read(path, mirror=True)
    np.testing.assert_array_equal(frames, pixels[:, :, ::-1])
    assert record == {"mirror": "yes"}


@pytest.mark.parametrize("options", [{"size": (64, 64), "buckets": BUCKETS}, {"buckets": ((0, 4),)}])
def test_buckets_that_make_no_sense_are_refused(options):
    with pytest.raises(UsageError):
        ReadOptions(**options)
