"""The header of a latents file as JSON text, and back.

The checks of docs/latents-format.md hold both ways: a text is parsed after it was built, before it is stored.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from fractions import Fraction

from cogvae_cli.errors import LatentsError
from cogvae_cli.io.json_fields import Fields, MalformedError, parse_json, shown
from cogvae_cli.io.latents_header import (
    DTYPES,
    FORMAT,
    LAYOUTS,
    LONGEST,
    MEMBERS,
    POLICIES,
    VERSION,
    ArrayFacts,
    ColourHeader,
    FramesHeader,
    LatentsHeader,
    PlanHeader,
    SourceHeader,
    TilesHeader,
    TimingHeader,
)
from cogvae_cli.model.config import SPACE, TIME, ModelSource

_COUNT = 2**40  # no count of frames or pixels is above this
_INT64 = 2**63 - 1


def header_text(header: LatentsHeader, arrays: Mapping[str, ArrayFacts]) -> str:
    """The header as JSON: ASCII, fields sorted, no spaces; the same header gives the same text.

    Raises LatentsError for a header that version 1 can't hold.
    """
    text = json.dumps(_to_json(header, arrays), sort_keys=True, separators=(",", ":"))
    try:
        parse_header(text)
    except MalformedError as error:
        raise LatentsError(f"these latents can't be stored: {error}") from error
    return text


def parse_header(text: str) -> tuple[LatentsHeader, dict[str, ArrayFacts]]:
    """Reads a header's JSON text. Raises MalformedError naming the field that is missing or odd."""
    if len(text) > LONGEST:
        raise MalformedError(f"header has {len(text)} characters; at most {LONGEST} are read")
    fields = Fields(parse_json(text, "header"), "header")
    kind = fields.take("format")
    if kind != FORMAT:
        raise MalformedError(f"header.format is {shown(kind)}, not {FORMAT!r}")
    version = fields.integer("version", 1, _INT64)
    if version != VERSION:
        raise MalformedError(f"is of version {version} of the format; this program reads version {VERSION}")
    header = _parse_body(fields)
    arrays = _parse_arrays(fields.fields("arrays"))
    fields.done()
    _check_posterior(header, arrays)
    _check_lengths(header)
    _check_shapes(header, arrays)
    return header, arrays


def _to_json(header: LatentsHeader, arrays: Mapping[str, ArrayFacts]) -> dict[str, object]:
    model, frames, plan, tiles = header.model, header.frames, header.plan, header.tiles
    return {
        "format": FORMAT,
        "version": VERSION,
        "dtype": header.dtype,
        "posterior": header.posterior,
        "seed": header.seed,
        "scaling_factor": header.scaling_factor,
        "scaled": header.scaled,
        "model": {
            "name": _plain(model.name),
            "revision": model.revision,
            "identity": model.identity,
            "files": {_plain(name): digest for name, digest in model.files},
        },
        "frames": dict(vars(frames)),
        "plan": dict(vars(plan)),
        "tiles": dict(vars(tiles)) if tiles else None,
        "timing": _timing_json(header.timing),
        "source": {"name": _plain(header.source.name), "size": header.source.size, "sha256": header.source.sha256},
        "colour": dict(vars(header.colour)),
        "versions": dict(header.versions),
        "settings": {name: _plain(value) for name, value in header.settings.items()},
        "arrays": {name: {"shape": list(facts.shape), "sha256": facts.sha256} for name, facts in arrays.items()},
    }


def _plain(text: str) -> str:
    """A file name's bytes that are no UTF-8 come as lone surrogates, which JSON of other programs refuses."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _timing_json(timing: TimingHeader) -> dict[str, object]:
    values: dict[str, object] = {"rate": _ratio(timing.rate), "variable": timing.variable, "unit": None, "ticks": None}
    if timing.times is not None:
        unit = Fraction(1, math.lcm(*(time.denominator for time in timing.times)))
        values |= {"unit": _ratio(unit), "ticks": [int(time / unit) for time in timing.times]}
    return values


def _ratio(value: Fraction) -> str:
    return f"{value.numerator}/{value.denominator}"


def _parse_body(fields: Fields) -> LatentsHeader:
    return LatentsHeader(
        dtype=fields.choice("dtype", DTYPES),
        posterior=fields.choice("posterior", tuple(MEMBERS)),
        seed=fields.optional_integer("seed", 0, _INT64),
        scaling_factor=fields.positive("scaling_factor"),
        scaled=fields.flag("scaled"),
        model=_parse_model(fields.fields("model")),
        frames=_parse_frames(fields.fields("frames")),
        plan=_parse_plan(fields.fields("plan")),
        tiles=_parse_tiles(fields.optional_fields("tiles")),
        timing=_parse_timing(fields.fields("timing")),
        source=_parse_source(fields.fields("source")),
        colour=_parse_colour(fields.fields("colour")),
        versions=_parse_versions(fields),
        settings=fields.texts("settings"),
    )


def _parse_model(fields: Fields) -> ModelSource:
    name = fields.text("name")
    if name.startswith(("/", "~")):
        raise MalformedError(f"header.model.name is {shown(name)}, an absolute path")
    revision, identity = fields.optional_text("revision"), fields.digest("identity")
    files = fields.fields("files")
    digests = tuple(sorted((file, files.digest(file)) for file in files.names()))
    fields.done()
    return ModelSource(name, revision, identity, digests)


def _parse_frames(fields: Fields) -> FramesHeader:
    frames = FramesHeader(
        count=fields.integer("count", 1, _COUNT),
        height=fields.integer("height", 1, _COUNT),
        width=fields.integer("width", 1, _COUNT),
        padded_frames=fields.integer("padded_frames", 0, 2 * TIME - 1),
        padded_bottom=fields.integer("padded_bottom", 0, SPACE - 1),
        padded_right=fields.integer("padded_right", 0, SPACE - 1),
        policy=fields.choice("policy", POLICIES),
        dropped_frames=fields.integer("dropped_frames", 0, 2 * TIME - 1),
    )
    fields.done()
    return frames


def _parse_plan(fields: Fields) -> PlanHeader:
    plan = PlanHeader(*(fields.integer(name, 1, _COUNT) for name in ("first", "rest", "count")))
    fields.done()
    return plan


def _parse_tiles(fields: Fields | None) -> TilesHeader | None:
    if fields is None:
        return None
    layout = fields.choice("layout", LAYOUTS)
    height, width = (fields.integer(name, 1, _COUNT) for name in ("tile_height", "tile_width"))
    overlaps = (fields.integer("overlap_height", 0, height - 1), fields.integer("overlap_width", 0, width - 1))
    grid = (fields.integer("rows", 1, _COUNT), fields.integer("columns", 1, _COUNT))
    fields.done()
    return TilesHeader(layout, height, width, *overlaps, *grid)


def _parse_timing(fields: Fields) -> TimingHeader:
    rate, variable = _parse_ratio(fields, "rate"), fields.flag("variable")
    if not variable:
        for name in ("unit", "ticks"):
            if fields.take(name) is not None:
                raise MalformedError(f"header.timing.{name} is set, but the rate doesn't vary")
        fields.done()
        return TimingHeader(rate)
    unit = _parse_ratio(fields, "unit")
    ticks = [_tick(tick) for tick in fields.items("ticks")]
    if any(after < before for before, after in itertools.pairwise(ticks)):
        raise MalformedError("header.timing.ticks go back in time")
    fields.done()
    return TimingHeader(rate, True, tuple(tick * unit for tick in ticks))


def _tick(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _INT64:
        raise MalformedError(f"header.timing.ticks holds {shown(value)}, not a whole number of 64 bits")
    return value


def _parse_ratio(fields: Fields, name: str) -> Fraction:
    text = fields.text(name, longest=40)
    upper, slash, lower = text.partition("/")
    whole = slash and all(part.isascii() and part.isdigit() and len(part) <= 18 for part in (upper, lower))
    if not whole or int(upper) == 0 or int(lower) == 0:
        raise MalformedError(f"{fields.where}.{name} is {shown(text)}, not a positive fraction like '30000/1001'")
    return Fraction(int(upper), int(lower))


def _parse_source(fields: Fields) -> SourceHeader:
    source = SourceHeader(fields.text("name"), fields.integer("size", 0, _INT64), fields.digest("sha256"))
    if "/" in source.name:
        raise MalformedError(f"header.source.name is {shown(source.name)}, a path; only a name is stored")
    fields.done()
    return source


def _parse_colour(fields: Fields) -> ColourHeader:
    matrix, levels, primaries, transfer = (
        fields.optional_text(name, 64) for name in ("matrix", "range", "primaries", "transfer")
    )
    colour = ColourHeader(matrix, levels, primaries, transfer, fields.flag("assumed"))
    fields.done()
    return colour


def _parse_versions(fields: Fields) -> dict[str, str]:
    versions = fields.texts("versions")
    for name in ("cogvae", "jax"):
        if name not in versions:
            raise MalformedError(f"header.versions.{name} is missing")
    return versions


def _parse_arrays(fields: Fields) -> dict[str, ArrayFacts]:
    arrays = {}
    for name in fields.names():
        facts = fields.fields(name)
        shape = facts.items("shape")
        if len(shape) != 4 or any(isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _COUNT for n in shape):
            raise MalformedError(f"{facts.where}.shape is {shown(shape)}, not four lengths [T H W C]")
        time, height, width, channels = (n for n in shape if isinstance(n, int))
        arrays[name] = ArrayFacts((time, height, width, channels), facts.digest("sha256"))
        facts.done()
    return arrays


def _check_posterior(header: LatentsHeader, arrays: Mapping[str, ArrayFacts]) -> None:
    wanted = MEMBERS[header.posterior]
    if set(arrays) != set(wanted):
        raise MalformedError(
            f"header.arrays names {shown(', '.join(arrays))}; posterior {header.posterior!r} has {', '.join(wanted)}"
        )
    if (header.seed is None) == (header.posterior == "sample"):
        raise MalformedError(f"header.seed is {header.seed} for posterior {header.posterior!r}; only a sample has one")
    if header.scaled and header.posterior == "moments":
        raise MalformedError("header.scaled is true for moments, which are stored unscaled")


def _check_lengths(header: LatentsHeader) -> None:
    """Raises where padding, dropping, plan and time stamps contradict the policy or the count of frames."""
    frames, plan = header.frames, header.plan
    policies = {"pad": frames.padded_frames, "trim": frames.dropped_frames}
    if any(count and frames.policy != policy for policy, count in policies.items()):
        raise MalformedError(
            f"header.frames pads {frames.padded_frames} and drops {frames.dropped_frames} under policy {frames.policy}"
        )
    encoded, planned = frames.count + frames.padded_frames, plan.first + plan.rest * (plan.count - 1)
    if encoded != planned:
        raise MalformedError(f"header.plan has {planned} frames, but header.frames has {encoded}")
    times = header.timing.times
    if times is not None and len(times) != frames.count:
        raise MalformedError(f"header.timing has {len(times)} ticks for {frames.count} frames")


def _check_shapes(header: LatentsHeader, arrays: Mapping[str, ArrayFacts]) -> None:
    """Raises where an array's shape isn't what the frames become."""
    frames = header.frames
    time = -(-(frames.count + frames.padded_frames) // TIME)
    height, width = frames.height + frames.padded_bottom, frames.width + frames.padded_right
    if height % SPACE or width % SPACE:
        raise MalformedError(f"header.frames pads to {width}x{height}, no multiple of {SPACE}")
    channels = {facts.shape[3] for facts in arrays.values()}
    for name, facts in arrays.items():
        if facts.shape[:3] != (time, height // SPACE, width // SPACE) or len(channels) != 1:
            raise MalformedError(
                f"header.arrays.{name}.shape is {list(facts.shape)}; {_encoded(header)} become "
                f"[{time}, {height // SPACE}, {width // SPACE}, C]"
            )


def _encoded(header: LatentsHeader) -> str:
    """The frames that were encoded, in words: `49 frames of 480x272`."""
    frames = header.frames
    size = f"{frames.width + frames.padded_right}x{frames.height + frames.padded_bottom}"
    return f"{frames.count + frames.padded_frames} frames of {size}"
