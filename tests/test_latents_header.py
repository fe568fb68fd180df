"""The latents file's header: what it says comes back, and whatever is missing, odd or contradictory is named."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from fractions import Fraction

import pytest
from latents_samples import HEADER, MOMENTS, SAMPLED, SHAPE, peak_mib

from cogvae_cli.errors import LatentsError
from cogvae_cli.io.json_fields import MalformedError
from cogvae_cli.io.latents_header import LONGEST, ArrayFacts, FramesHeader, PlanHeader, SourceHeader, TimingHeader
from cogvae_cli.io.latents_header_json import header_text, parse_header

LATENTS = {"latents": ArrayFacts(SHAPE, "ef" * 32)}
BOTH = {"mean": ArrayFacts(SHAPE, "ef" * 32), "logvar": ArrayFacts(SHAPE, "01" * 32)}
FIELDS = json.loads(header_text(SAMPLED, LATENTS))


def paths(value, before=()):
    """Every field of the header, however deep, as a tuple of names."""
    for name, inner in value.items():
        yield (*before, name)
        if isinstance(inner, dict) and name not in ("files", "versions", "settings"):
            yield from paths(inner, (*before, name))


def changed(path, value):
    """The header's text with one field set, or gone for a value of `None` given as `...`."""
    fields = copy.deepcopy(FIELDS)
    inner = fields
    for name in path[:-1]:
        inner = inner[name]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(fields)


@pytest.mark.parametrize("header", [HEADER, SAMPLED, MOMENTS], ids=["mean", "sample", "moments"])
def test_a_header_comes_back_as_it_was_written(header):
    arrays = BOTH if header.posterior == "moments" else LATENTS
    assert parse_header(header_text(header, arrays)) == (header, arrays)


def test_the_text_is_sorted_ascii_and_the_same_each_time():
    text = header_text(SAMPLED, LATENTS)
    assert text == header_text(dataclasses.replace(SAMPLED, versions=dict(reversed(SAMPLED.versions.items()))), LATENTS)
    assert text.isascii()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_time_stamps_of_different_denominators_come_back_exactly():
    times = (Fraction(-1, 3), Fraction(0), Fraction(1, 3), Fraction(1001, 30000), *(Fraction(k) for k in range(1, 12)))
    header = dataclasses.replace(SAMPLED, timing=TimingHeader(Fraction(25), True, tuple(sorted(times))))
    assert parse_header(header_text(header, LATENTS))[0].timing == header.timing


def test_a_source_name_that_is_no_utf_8_is_stored_readably():
    header = dataclasses.replace(HEADER, source=SourceHeader("a\udcffb.mp4", 1, "cd" * 32))
    assert parse_header(header_text(header, LATENTS))[0].source.name == "a?b.mp4"


@pytest.mark.parametrize("path", list(paths(FIELDS)), ids=".".join)
def test_a_missing_field_is_named(path):
    with pytest.raises(MalformedError, match=rf"{path[-1]}"):
        parse_header(changed(path, ...))


@pytest.mark.parametrize("path", list(paths(FIELDS)), ids=".".join)
def test_a_field_of_the_wrong_type_is_refused_in_one_line(path):
    lines = []
    for odd in (True, -1, 2**70, 1.5, "", "odd", [], ["a"], {"odd": 1}, None):
        text = changed(path, odd)
        try:
            header, arrays = parse_header(text)
        except MalformedError as error:
            lines.append(str(error))
        else:  # a value that the format allows comes back as it was
            assert json.loads(header_text(header, arrays)) == json.loads(text)
    assert len(lines) >= 8
    assert not any("\n" in line or len(line) > 250 for line in lines)


def test_few_odd_values_are_allowed_anywhere():
    allowed = {
        (".".join(path), repr(odd))
        for path in paths(FIELDS)
        for odd in (True, 1.5, "odd", None)
        if accepted(changed(path, odd))
    }
    assert allowed == {
        ("scaled", "True"),
        ("colour.assumed", "True"),
        ("scaling_factor", "1.5"),
        ("tiles", "None"),
        ("source.name", "'odd'"),
        ("model.name", "'odd'"),
        ("model.revision", "'odd'"),
        ("model.revision", "None"),
        *(
            (f"colour.{name}", odd)
            for name in ("matrix", "range", "primaries", "transfer")
            for odd in ("'odd'", "None")
        ),
        ("timing.variable", "True"),
    }


def accepted(text):
    try:
        parse_header(text)
    except MalformedError:
        return False
    return True


@pytest.mark.parametrize("path", [("odd",), ("model", "odd"), ("timing", "odd"), ("arrays", "latents", "odd")])
def test_an_unknown_field_is_refused(path):
    with pytest.raises(MalformedError, match="unknown field 'odd'"):
        parse_header(changed(path, 1))


@pytest.mark.parametrize("version", [2, 99])
def test_another_version_is_refused_by_its_number(version):
    with pytest.raises(MalformedError, match=rf"version {version} .* reads version 1"):
        parse_header(changed(("version",), version))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("scaling_factor",), float("nan"), "NaN"),
        (("scaling_factor",), float("inf"), "Infinity"),
        (("timing", "rate"), "30/0", "positive fraction"),
        (("timing", "rate"), "²/1", "positive fraction"),
        (("timing", "ticks"), list(range(14, -1, -1)), "back in time"),
        (("timing", "ticks"), list(range(14)), "14 ticks for 15 frames"),
        (("source", "name"), "/home/me/clip.mp4", "a path"),
        (("model", "name"), "/home/me/vae", "absolute path"),
        (("seed",), None, "only a sample has one"),
        (("arrays", "latents", "shape"), [5, 4, 6], "four lengths"),
        (("arrays", "latents", "shape"), [6, 4, 6, 16], r"17 frames of 48x32 become \[5, 4, 6, C\]"),
        (("frames", "padded_right"), 4, "no multiple of 8"),
        (("frames", "dropped_frames"), 3, "drops 3 under policy pad"),
        (("plan", "count"), 3, "header.plan has 25 frames, but header.frames has 17"),
    ],
)
def test_a_contradiction_is_named(path, value, says):
    with pytest.raises(MalformedError, match=says):
        parse_header(changed(path, value))


@pytest.mark.parametrize(
    "change",
    [
        {"frames": FramesHeader(15, 30, 45, 2, 2, 3, "trim", 0)},
        {"plan": PlanHeader(9, 8, 3)},
        {"seed": 3},
        {"scaling_factor": float("nan")},
        {"dtype": "float64"},
        {"timing": TimingHeader(Fraction(25), True, None)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_header_that_the_format_cannot_hold_is_not_written(change):
    with pytest.raises(LatentsError, match="can't be stored"):
        header_text(dataclasses.replace(HEADER, **change), LATENTS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ('{"format": 1, "format": 2}', "'format' twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"format": ' + "9" * 10_000 + "}", "not JSON"),
        ('{"format": 1e999}', "header.format is inf"),
        (" " * (LONGEST + 1), "characters"),
    ],
    ids=["empty", "cut", "list", "twice", "deep", "long number", "inf", "long"],
)
def test_hostile_json_is_refused_in_bounded_time_and_memory(text, says):
    def read():
        with pytest.raises(MalformedError, match=says):
            parse_header(text)

    start = time.monotonic()
    assert peak_mib(read) < 64
    assert time.monotonic() - start < 5
