"""What holds for any input: plans of time and space, headers, readers of untrusted files."""

from __future__ import annotations

import dataclasses
import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from latents_samples import HEADER, MOMENTS, SAMPLED, values, write

from cogvae_cli.errors import LatentsError, UsageError
from cogvae_cli.io.foreign import Hints, read_foreign
from cogvae_cli.io.json_fields import MalformedError
from cogvae_cli.io.latents import read_latents
from cogvae_cli.io.latents_header import ArrayFacts, FramesHeader, LatentsHeader, PlanHeader, SourceHeader, TimingHeader
from cogvae_cli.io.latents_header_json import header_text, parse_header
from cogvae_cli.io.torch_file import BARE, write_tensors
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


def test_the_properties_ran_on_files_that_are_good(good, tmp_path):
    for suffix in ("npz", "safetensors"):
        (tmp_path / f"z.{suffix}").write_bytes(good[suffix])
        assert read_latents(tmp_path / f"z.{suffix}").header == HEADER
    (tmp_path / "z.pt").write_bytes(good["pt"])
    assert read_foreign(Path(tmp_path / "z.pt"), Hints(layout="BCTHW")).arrays
