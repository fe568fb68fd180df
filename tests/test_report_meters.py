"""What a report gathers while frames go by: errors by place, latents by channel, frames worth showing."""

from __future__ import annotations

import math
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cogvae_cli.report.error_places import MOST_CELLS, PlaceMeter
from cogvae_cli.report.kept_frames import LONGEST_SIDE, MOST_KEPT, FrameKeeper, amplification, amplified, shown
from cogvae_cli.report.latent_channels import BINS, LatentsMeter
from cogvae_cli.report.metrics import error_by_pixel


def clips(rng, frames: int, height: int, width: int):
    """Two clips, uint8 [T H W 3], whose difference has another size at every place."""
    a = rng.integers(0, 256, (frames, height, width, 3), np.uint8)
    error = rng.integers(-20, 21, a.shape) * np.linspace(0, 3, width)[:, None]
    return a, np.clip(a + error, 0, 255).astype(np.uint8)


def places_of(a, b, *, padded: int = 0):
    meter = PlaceMeter(*a.shape[1:3])
    for start in range(0, len(a), 4):
        part = [
            np.pad(clip[start : start + 4], ((0, 4), (0, padded), (0, padded), (0, 0)), mode="edge") for clip in (a, b)
        ]
        count = len(a[start : start + 4])
        part = [clip[:4] if count == 4 else clip for clip in part]
        meter.add(np.asarray(error_by_pixel(part[0][None], part[1][None], np.int32(count))), count)
    return meter.places()


def test_errors_by_row_and_column_are_those_of_the_whole_clip(rng):
    a, b = clips(rng, 11, 20, 33)
    places = places_of(a, b, padded=3)
    squared = np.square(a.astype(float) - b)
    assert places.by_row == pytest.approx(np.sqrt(squared.mean(axis=(0, 2, 3))), rel=1e-6)
    assert places.by_column == pytest.approx(np.sqrt(squared.mean(axis=(0, 1, 3))), rel=1e-6)
    assert places.by_column[-1] > 5 * places.by_column[2]


def test_cells_are_squares_and_those_at_the_edge_count_what_they_have(rng):
    a, b = clips(rng, 2, 7, 2 * MOST_CELLS + 1)
    places = places_of(a, b)
    assert (places.cell, places.cells.shape) == (3, (3, 65))
    squared = np.square(a.astype(float) - b).mean(axis=(0, 3))
    assert places.cells[1, 4] == pytest.approx(math.sqrt(squared[3:6, 12:15].mean()), rel=1e-6)
    assert places.cells[2, 64] == pytest.approx(math.sqrt(squared[6:, 192:].mean()), rel=1e-6)


def test_nothing_measured_has_no_places():
    with pytest.raises(ValueError, match="no frame"):
        PlaceMeter(8, 8).places()


def test_latents_are_told_by_channel(rng):
    latents = rng.normal([-3.0, 0.5, 9.0], [0.1, 1.0, 4.0], (7, 5, 6, 3)).astype(np.float32)
    meter = LatentsMeter(3)
    for part in (latents[:3], latents[3:5], latents[5:]):
        meter.add(part)
    figures = meter.figures()
    flat = latents.reshape(-1, 3).astype(np.float64)
    for index, channel in enumerate(figures.channels):
        column = flat[:, index]
        assert (channel.mean, channel.deviation) == pytest.approx((column.mean(), column.std()), rel=1e-6)
        assert (channel.minimum, channel.maximum) == (column.min(), column.max())
        assert channel.unit_factor * column.std() == pytest.approx(1)
        expected, _ = np.histogram(column, BINS, (-figures.reach, figures.reach))
        assert np.abs(np.subtract(channel.histogram, expected)).sum() <= 2  # values on the edge of a bin
    assert figures.deviation == pytest.approx(flat.std(), rel=1e-6)
    assert figures.count == len(flat)


def test_a_histogram_that_widens_loses_no_value(rng):
    meter, values = LatentsMeter(2), []
    for size in (0.3, 0.01, 5.0, 1.0, 40.0):
        values.append(rng.normal(0, size, (2, 3, 3, 2)))
        meter.add(values[-1])
    figures, flat = meter.figures(), np.concatenate(values).reshape(-1, 2)
    assert figures.reach >= np.abs(flat).max() > figures.reach / 2
    for index, channel in enumerate(figures.channels):
        expected, _ = np.histogram(flat[:, index], BINS, (-figures.reach, figures.reach))
        assert channel.histogram == tuple(expected)


def test_a_constant_channel_has_no_unit_factor():
    meter = LatentsMeter(2)
    meter.add(np.stack([np.zeros((1, 2, 2)), np.arange(4.0).reshape(1, 2, 2)], axis=-1))
    constant, other = meter.figures().channels
    assert (constant.unit_factor, constant.deviation, sum(constant.histogram)) == (None, 0, 4)
    assert other.unit_factor == pytest.approx(1 / np.std([0, 1, 2, 3]))


class Counted:
    """A picture that can be counted while it lives."""


def keep(errors: list[float]) -> tuple[dict, int]:
    """What is chosen of frames with these errors, and the most pictures that were alive at once."""
    keeper, alive, most = FrameKeeper(), weakref.WeakSet(), 0

    def picture(number: int):
        made = Counted()
        made.number = number
        alive.add(made)
        return made

    for index, error in enumerate(errors):
        keeper.add(error, lambda index=index: picture(index))
        most = max(most, len(alive))
    return keeper.chosen(), most


SERIES = {
    "by chance": np.random.default_rng(3).random(1000),
    "getting worse": np.arange(1000.0),
    "getting better": np.arange(1000.0)[::-1],
    "up and down": np.abs(np.arange(1000.0) - 500),
    "alternating": np.where(np.arange(1000) % 2, np.arange(1000.0), 2000 - np.arange(1000.0)),
    "a jump": np.concatenate([np.full(900, 1.0), np.full(100, 50.0)]) + np.arange(1000) * 1e-6,
}


@pytest.mark.parametrize("name", SERIES)
def test_the_best_and_the_worst_frame_are_found_and_the_median_nearly(name):
    errors = SERIES[name].tolist()
    chosen, most = keep(errors)
    numbers = {pick: number for pick, (number, _) in chosen.items()}
    assert errors[numbers["best"]] == min(errors)
    assert errors[numbers["worst"]] == max(errors)
    rank = sorted(range(1000), key=lambda index: (errors[index], index)).index(numbers["median"])
    assert abs(rank - 499.5) <= 1000 / MOST_KEPT
    assert most <= MOST_KEPT + 1
    assert all(picture.number == number for number, picture in chosen.values())


@given(st.lists(st.floats(0, 1e4) | st.integers(0, 3).map(float), min_size=1, max_size=150))
@settings(max_examples=150, deadline=None)
def test_no_order_of_errors_breaks_the_bound(errors):
    chosen, _ = keep(errors)
    order = sorted(range(len(errors)), key=lambda index: (errors[index], index))
    numbers = {pick: number for pick, (number, _) in chosen.items()}
    assert numbers["best"] == order[0]
    assert numbers.get("worst", order[0]) == order[-1]
    if len(errors) > 2:
        off = abs(order.index(numbers["median"]) - (len(errors) - 1) / 2)
        assert off <= max(0.5, len(errors) / (MOST_KEPT - 1))


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([5.0], {"best": 0}),
        ([5.0, 2.0], {"best": 1, "worst": 0}),
        ([5.0, 2.0, 3.0], {"best": 1, "median": 2, "worst": 0}),
        ([0.0, 0.0, 0.0], {"best": 0, "median": 1, "worst": 2}),
        ([float(value) for value in range(MOST_KEPT)], {"best": 0, "median": 7, "worst": 15}),
    ],
)
def test_a_short_clip_is_kept_whole(errors, expected):
    chosen, _ = keep(errors)
    assert {name: number for name, (number, _) in chosen.items()} == expected


def test_a_large_frame_is_kept_smaller_and_its_difference_is_taken_before(rng):
    original = rng.integers(60, 200, (20, 2 * LONGEST_SIDE - 1, 3), np.uint8)
    result = original.copy()
    result[:, ::2] += 12
    result[:, 1::2] -= 12
    pictures = shown(original, result)
    assert pictures.size == (LONGEST_SIDE - 1, 10)
    assert (pictures.difference == 12).all()  # although both look the same once they are smaller
    assert np.abs(pictures.original.astype(int) - pictures.result).max() <= 1


def test_a_kept_frame_holds_no_chunk_alive(rng):
    chunk = rng.integers(0, 256, (8, 16, 16, 3), np.uint8)
    pictures = shown(chunk[3], chunk[4])
    assert pictures.original.base is None or pictures.original.base.nbytes == chunk[3].nbytes
    assert (pictures.original == chunk[3]).all()


@pytest.mark.parametrize(("level", "factor"), [(0, 1), (1, 64), (2, 32), (8, 8), (30, 2), (200, 1)])
def test_differences_are_amplified_as_much_as_they_need(level, factor):
    difference = np.full((4, 4, 3), level, np.uint8)
    pictures = shown(difference, np.zeros_like(difference))
    assert amplification([pictures]) == factor
    assert (amplified(difference, factor) == min(255, level * factor)).all()
