"""Charts: lines that stay short however long the clip, gaps that stay gaps, round numbers beside them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cogvae_cli.report.charts import MOST_MARKS, MOST_POINTS, Axis, bar_path, line_chart
from cogvae_cli.report.heat import heat

AXIS = Axis("frame")


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.e+]+) (-?[\d.e+]+)", path)]


def test_each_value_has_a_point_at_its_place():
    values = [10.0, 30.0, 20.0, 40.0]
    chart = line_chart("n", "title", "text", values, AXIS)
    found = points(chart.line)
    assert [x for x, _ in found] == [125, 375, 625, 875]
    heights = [y for _, y in found]
    assert np.corrcoef(heights, values)[0, 1] == pytest.approx(-1)  # an SVG counts from the top
    assert all(0 < y < 1000 for y in heights)
    assert chart.band == ""


def test_a_gap_stays_a_gap_and_a_lone_value_a_dot():
    chart = line_chart("n", "title", "text", [1.0, None, 2.0, 3.0], AXIS)
    assert chart.line.count("M") == 2
    assert chart.line.count("L") == 1
    assert line_chart("n", "title", "text", [7.0], AXIS).line == "M500 500h0"


def test_no_value_is_no_chart():
    assert line_chart("n", "title", "text", [None, None], AXIS) is None
    assert line_chart("n", "title", "text", [], AXIS) is None


def test_a_long_series_is_a_band_that_shows_its_extremes():
    values = np.sin(np.arange(100_000) / 9000)
    values[61_234] = 5.0
    values[7] = -4.0
    chart = line_chart("n", "title", "text", values.tolist(), AXIS)
    assert len(points(chart.line)) <= MOST_POINTS
    assert len(points(chart.band)) <= 2 * MOST_POINTS
    heights = {round(x): y for x, y in points(chart.band)}
    top = min(points(chart.band), key=lambda point: point[1])
    assert top[0] == pytest.approx(612, abs=2)
    assert len(heights) > 400


def test_marks_that_would_be_too_close_are_left_out():
    few = line_chart("n", "t", "t", [1.0, 2.0] * 20, Axis("frame", range(9, 40, 8)))
    assert few.marks == (225, 425, 625, 825)
    many = line_chart("n", "t", "t", [1.0, 2.0] * 500, Axis("frame", range(9, 1000, 8)))
    assert (len(range(9, 1000, 8)) > MOST_MARKS, many.marks) == (True, ())


@pytest.mark.parametrize("values", [[20.0, 21.3], [0.0, 0.0004], [5.0, 5.0], [0.0], [-3e5, 4e5], [0.9999, 1.0]])
def test_ticks_are_few_round_and_inside(values):
    chart = line_chart("n", "t", "t", values, AXIS)
    assert 2 <= len(chart.y_ticks) <= 8
    assert all(0 <= tick.at <= 100 for tick in (*chart.x_ticks, *chart.y_ticks))
    numbers = [float(tick.text) for tick in chart.y_ticks]
    assert len(set(numbers)) == len(numbers)
    assert np.diff(numbers) == pytest.approx(numbers[1] - numbers[0])


def test_a_histogram_fills_its_height_and_closes():
    path = bar_path([0, 2, 4, 1])
    assert path.startswith("M0 1000")
    assert path.endswith("L1000 1000Z")
    assert min(y for _, y in points(path)) == 0
    assert "L250 500L500 500" in path
    assert bar_path([0, 0]) == ""


def test_more_error_is_lighter():
    colours = heat(np.linspace(0, 7, 50)[None]).astype(int).sum(axis=-1)[0]
    assert (np.diff(colours) > 0).all()
    assert (heat(np.zeros((2, 3))) == heat(np.zeros((1, 1)))).all()
