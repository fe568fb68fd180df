"""What holds for any input: plans of time and space, headers, readers of untrusted files, options about video."""

from __future__ import annotations

import dataclasses
import itertools
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from latents_samples import HEADER, MOMENTS, SAMPLED, values, write

from cogvae_cli.errors import LatentsError, UsageError, VideoError
from cogvae_cli.io.codecs import CODECS, FORMATS
from cogvae_cli.io.fitting import plan_of
from cogvae_cli.io.foreign import Hints, read_foreign
from cogvae_cli.io.json_fields import MalformedError
from cogvae_cli.io.latents import read_latents
from cogvae_cli.io.latents_header import ArrayFacts, FramesHeader, LatentsHeader, PlanHeader, SourceHeader, TimingHeader
from cogvae_cli.io.latents_header_json import header_text, parse_header
from cogvae_cli.io.rates import snapped
from cogvae_cli.io.read_options import ReadOptions, parse_seconds, seconds_text
from cogvae_cli.io.selection import selected
from cogvae_cli.io.timing import Clock
from cogvae_cli.io.torch_file import BARE, write_tensors
from cogvae_cli.io.write_options import WriteOptions, ticks_of
from cogvae_cli.model.chunks import decode_plan, encode_plan, frames_of, is_exact, latents_of, padded, trimmed
from cogvae_cli.model.tiling import Tiling

quick = settings(max_examples=50, deadline=None, derandomize=True, database=None)
SIDES = st.integers(1, 5000)
RATES = st.fractions(min_value=Fraction(1, 100), max_value=240, max_denominator=1001)


def assert_one_line(error: Exception) -> None:
    assert str(error)
    assert "\n" not in str(error)


@quick
@given(st.integers(1, 100_000))
def test_a_plan_of_time_covers_every_frame_once(frames):
    plan = encode_plan(frames)
    assert sum(plan) == frames
    assert all(length == 8 for length in plan[1:])
    assert 1 <= plan[0] <= 15
    assert sum(decode_plan(latents_of(frames))) == latents_of(frames)
    assert frames_of(latents_of(padded(frames))) == padded(frames)
    assert trimmed(frames) <= frames <= padded(frames) < frames + 8
    assert is_exact(trimmed(frames))
    assert is_exact(padded(frames))


@quick
@given(st.tuples(*[st.integers(1, 60)] * 4), st.sampled_from(["uniform", "reference"]), st.data())
def test_tiles_cover_a_frame_and_overlap_as_they_say(sizes, layout, data):
    height, width, tile_height, tile_width = (8 * size for size in sizes)
    overlaps = [8 * data.draw(st.integers(0, side // 8 - 1)) for side in (tile_height, tile_width)]
    grid = Tiling(tile_height, tile_width, *overlaps, layout).grid(height, width)
    if grid is None:
        assert height <= tile_height
        assert width <= tile_width
        return
    for spans, length, overlap in ((grid.rows, height, overlaps[0]), (grid.columns, width, overlaps[1])):
        covered = {place for span in spans for place in range(span.start, span.start + span.length)}
        assert covered == set(range(length // 8))
        starts = [span.start for span in spans]
        assert starts == sorted(set(starts))
        if layout == "uniform":
            assert len({span.length for span in spans}) == 1
            for before, after in itertools.pairwise(spans):
                assert before.start + before.length - after.start >= overlap // 8


NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=("Cs",)), min_size=1, max_size=40)


@st.composite
def headers(draw) -> tuple[LatentsHeader, dict[str, ArrayFacts]]:
    """Any header that version 1 can hold, with the facts of its arrays."""
    base = draw(st.sampled_from([HEADER, SAMPLED, MOMENTS]))
    count, height, width = draw(st.tuples(st.integers(1, 60), SIDES, SIDES))
    variable = draw(st.booleans())
    ticks = sorted(draw(st.lists(st.integers(-(2**40), 2**40), min_size=count, max_size=count))) if variable else None
    unit = draw(st.fractions(min_value=Fraction(1, 10**6), max_value=1, max_denominator=10**6).filter(bool))
    full = padded(count)
    header = dataclasses.replace(
        base,
        frames=FramesHeader(count, height, width, full - count, -height % 8, -width % 8, "pad", 0),
        plan=PlanHeader(min(full, 9), 8, 1 + (full - min(full, 9)) // 8),
        timing=TimingHeader(draw(RATES), variable, None if ticks is None else tuple(tick * unit for tick in ticks)),
        source=SourceHeader(draw(NAMES), draw(st.integers(0, 2**63 - 1)), "ef" * 32),
        settings=draw(st.dictionaries(NAMES, NAMES, max_size=3)),
        scaling_factor=draw(st.floats(1e-6, 1e6)),
    )
    shape = (latents_of(full), -(-height // 8), -(-width // 8), 16)
    names = ("mean", "logvar") if base.posterior == "moments" else ("latents",)
    return header, {name: ArrayFacts(shape, "0a" * 32) for name in names}


@quick
@given(headers())
def test_a_header_says_after_storing_what_it_said_before(given_header):
    header, arrays = given_header
    text = header_text(header, arrays)
    assert text.isascii()
    assert parse_header(text) == (header, arrays)


@quick
@given(headers(), st.data())
def test_a_header_with_any_field_replaced_is_read_or_refused_cleanly(given_header, data):
    tree = json.loads(header_text(*given_header))
    place = tree
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    junk = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.just([])
    )
    place[key] = data.draw(junk)
    try:
        header, facts = parse_header(json.dumps(tree))
    except MalformedError as error:
        assert_one_line(error)
    else:
        assert parse_header(header_text(header, facts)) == (header, facts)


@quick
@given(st.text(max_size=300))
def test_any_text_is_no_header_and_says_so(text):
    with pytest.raises(MalformedError):
        parse_header(text)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> dict[str, bytes]:
    """The bytes of good files of latents, by their suffix."""
    folder = tmp_path_factory.mktemp("good")
    files = {}
    for suffix in ("npz", "safetensors"):
        path = write(folder / f"z.{suffix}", HEADER, values(np.random.default_rng(1)))
        files[suffix] = path.read_bytes()
    with (folder / "z.pt").open("wb") as file:
        latents = np.random.default_rng(2).normal(size=(1, 16, 3, 4, 6)).astype(np.float32)
        write_tensors(file, {BARE: latents}, "float32", {})
    return files | {"pt": (folder / "z.pt").read_bytes()}


@quick
@pytest.mark.parametrize("suffix", ["npz", "safetensors", "pt"])
@given(st.data())
def test_any_change_of_a_file_is_noticed_or_harmless(good, tmp_path_factory, suffix, data):
    """A latents file has hashes over all of it: what is read is what was written. Another program's has none."""
    content = bytearray(good[suffix])
    place = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(0, 20))
    content[place : place + length] = data.draw(st.binary(max_size=20))
    assume(bytes(content) != good[suffix])
    path = tmp_path_factory.getbasetemp() / f"changed.{suffix}"
    path.write_bytes(content)
    try:
        if suffix == "pt":
            read_foreign(path, Hints(layout="BCTHW"))
            return
        found = read_latents(path)
    except (LatentsError, UsageError) as error:
        assert_one_line(error)
        return
    path.write_bytes(good[suffix])
    whole = read_latents(path)
    assert found.sha256 == whole.sha256
    assert found.header == whole.header


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


def test_the_properties_ran_on_files_that_are_good(good, tmp_path):
    for suffix in ("npz", "safetensors"):
        (tmp_path / f"z.{suffix}").write_bytes(good[suffix])
        assert read_latents(tmp_path / f"z.{suffix}").header == HEADER
    (tmp_path / "z.pt").write_bytes(good["pt"])
    assert read_foreign(Path(tmp_path / "z.pt"), Hints(layout="BCTHW")).arrays


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
