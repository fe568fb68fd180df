"""What holds for any times, sizes, rates and options of video."""

from __future__ import annotations

import itertools
from fractions import Fraction

import av
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cogvae_cli.errors import UsageError, VideoError
from cogvae_cli.io.codecs import CODECS, FORMATS
from cogvae_cli.io.fitting import plan_of
from cogvae_cli.io.rates import snapped
from cogvae_cli.io.read_options import ReadOptions, parse_seconds, seconds_text
from cogvae_cli.io.selection import selected
from cogvae_cli.io.timing import Clock
from cogvae_cli.io.write_options import WriteOptions, ticks_of

quick = settings(max_examples=50, deadline=None, derandomize=True, database=None)
SIDES = st.integers(1, 5000)
RATES = st.fractions(min_value=Fraction(1, 100), max_value=240, max_denominator=1001)


def assert_one_line(error: Exception) -> None:
    assert str(error)
    assert "\n" not in str(error)


@quick
@given(st.fractions(min_value=0, max_value=10**6, max_denominator=10**6))
def test_times_are_read_as_they_were_written(seconds):
    text = seconds_text(seconds)
    if "/" not in text:
        assert parse_seconds(text) == seconds
    else:
        assert Fraction(text) == seconds


@quick
@given(st.text(max_size=12))
def test_any_text_is_a_time_or_a_clean_refusal(text):
    try:
        assert parse_seconds(text) >= 0
    except UsageError as error:
        assert_one_line(error)


@quick
@given(st.tuples(SIDES, SIDES), st.fractions(Fraction(1, 8), 8, max_denominator=100), st.data())
def test_frames_get_the_size_that_was_asked_for(size, aspect, data):
    wanted = data.draw(st.none() | st.tuples(SIDES, SIDES))
    fit = data.draw(st.sampled_from(["cover", "contain", "stretch"]))
    try:
        plan = plan_of(size, aspect, ReadOptions(size=wanted, fit=fit))
    except VideoError as error:
        assert_one_line(error)
        return
    (width, height), (x, y) = plan.scaled, plan.offset
    if wanted is None:
        assert (plan.out, plan.offset) == (plan.scaled, (0, 0))
        return
    assert plan.out == wanted
    if fit == "stretch":
        assert plan.scaled == wanted
    elif fit == "cover":
        assert width >= wanted[0] and height >= wanted[1]  # noqa: PT018 - one thought
        assert x <= 0 and y <= 0  # noqa: PT018
    else:
        assert width <= wanted[0] and height <= wanted[1]  # noqa: PT018
        assert x >= 0 and y >= 0  # noqa: PT018
    assert width in (wanted[0], width) and (width == wanted[0] or height == wanted[1])  # noqa: PT018


def frames_at(times: list[Fraction]) -> list[tuple[av.VideoFrame, Fraction]]:
    made = []
    for number, time in enumerate(times):
        frame = av.VideoFrame(16, 16, "gray")
        frame.pts = number
        made.append((frame, time))
    return made


GAPS = st.lists(st.fractions(Fraction(1, 100), 2, max_denominator=100), min_size=1, max_size=30)


@quick
@given(GAPS, st.data())
def test_resampling_shows_what_is_on_the_screen_at_each_moment(gaps, data):
    times = [sum(gaps[:index], Fraction(0)) for index in range(len(gaps))]
    fps = data.draw(st.fractions(Fraction(1, 2), 60, max_denominator=100))
    start = data.draw(st.none() | st.fractions(0, 3, max_denominator=100))
    duration = data.draw(st.none() | st.fractions(Fraction(1, 10), 5, max_denominator=100))
    options = ReadOptions(fps=fps, start=start, duration=duration)
    shown = [frame.pts for frame, _ in selected(iter(frames_at(times)), options, None, Fraction(25))]
    begin = start or Fraction(0)
    end = times[-1] + Fraction(1, 25)
    if duration is not None:
        end = min(end, begin + duration)
    moments, moment = [], begin
    while moment < end:
        moments.append(max(index for index, time in enumerate(times) if time <= moment))
        moment = begin + len(moments) / fps
    assert shown == moments


@quick
@given(GAPS, st.data())
def test_a_part_by_time_holds_the_frames_that_begin_in_it(gaps, data):
    times = [sum(gaps[:index], Fraction(0)) for index in range(len(gaps))]
    start = data.draw(st.fractions(0, 3, max_denominator=100))
    duration = data.draw(st.fractions(Fraction(1, 10), 5, max_denominator=100))
    most = data.draw(st.none() | st.integers(1, 40))
    options = ReadOptions(start=start, duration=duration, frames=most)
    got = [frame.pts for frame, _ in selected(iter(frames_at(times)), options, None, Fraction(25))]
    assert got == [index for index, time in enumerate(times) if start <= time < start + duration][:most]


@quick
@given(
    st.lists(st.fractions(0, 1000, max_denominator=100_000), min_size=1, max_size=60),
    st.sampled_from(["mp4", "mkv", "gif"]),
)
def test_times_stay_in_order_and_near_what_they_were(times, container):
    times = tuple(sorted(times))
    options = WriteOptions(64, 48, Fraction(25), container, times=times)
    ticks = ticks_of(options)
    begun = [ticks.begin(index) for index in range(len(times))]
    assert begun[0] == 0
    assert all(later > earlier for earlier, later in itertools.pairwise(begun))
    assert all(ticks.length(index) >= 1 for index in range(len(times)))
    apart = [round((time - times[0]) / ticks.unit) for time in times]
    if len(set(apart)) == len(apart):
        assert begun == apart


@quick
@given(st.data())
def test_any_combination_of_video_options_is_written_or_refused_cleanly(data):
    draw = data.draw
    codec = draw(st.none() | st.sampled_from([*CODECS, "x"]))
    formats = sorted({fmt for facts in CODECS.values() for fmt in facts.pix_fmts} | {"rgb24"})
    presets = sorted({name for facts in CODECS.values() for name in facts.presets} | {"x"})
    try:
        options = WriteOptions(
            draw(st.integers(-1, 20_000)),
            draw(st.integers(-1, 20_000)),
            draw(st.fractions(-1, 10**6)),
            draw(st.sampled_from([*FORMATS, "avi"])),
            draw(st.none() | st.integers(-1, 64)),
            draw(st.none() | st.sampled_from(formats)),
            codec,
            draw(st.none() | st.sampled_from(presets)),
        )
    except UsageError as error:
        assert_one_line(error)
        return
    facts = options.codec_facts
    assert facts is None or options.pixel_format in facts.pix_fmts
    across, down = options.padding
    if facts is not None and facts.needs_even and options.pixel_format.startswith("yuv420"):
        assert (options.width + across) % 2 == (options.height + down) % 2 == 0
    assert 0 <= across <= 1
    assert 0 <= down <= 1


@quick
@given(RATES)
def test_snapping_moves_a_rate_by_less_than_anybody_sees(rate):
    assert abs(snapped(rate) / rate - 1) <= 1e-5
    assert snapped(snapped(rate)) == snapped(rate)


@quick
@given(
    rate=st.sampled_from([Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(12)]),
    tick=st.sampled_from([Fraction(1, 1000), Fraction(1, 600), Fraction(1, 12800), Fraction(1, 90000)]),
    start=st.integers(-500, 500),
    shifts=st.lists(st.integers(-2, 2), min_size=2, max_size=8),
)
def test_stamps_within_a_tick_of_a_rate_are_constant_and_others_are_not(rate, tick, start, shifts):
    """By the definition, in fractions: each stamp at most a tick, and less than half a frame, from its place."""
    period = 1 / (rate * tick)
    stamps = [start, *(start + round(index * period) + shift for index, shift in enumerate(shifts, 1))]
    assume(all(earlier < later for earlier, later in itertools.pairwise(stamps)))
    clock = Clock(tick, [rate])
    for stamp in stamps:
        clock.add(stamp)
    slack = min(Fraction(1), period / 2 - Fraction(1, 1000))
    near = all(abs(stamp - start - index * period) <= slack for index, stamp in enumerate(stamps))
    timing, _ = clock.timing()
    assert (timing.rate == rate and not timing.variable) == near
