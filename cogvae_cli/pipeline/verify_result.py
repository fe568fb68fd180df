"""How far two results lie apart, layer by layer, and what that says of the whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cogvae_cli.errors import QualityError
from cogvae_cli.io.latents_header import TilesHeader
from cogvae_cli.model.config import ModelSource
from cogvae_cli.pipeline.results import SCHEMA_VERSION, model_facts, size_text, tile_facts

DEFINITIONS = {
    "max_abs": "largest absolute difference between ours and the reference, over all elements of the chunk",
    "mean_abs": "mean absolute difference",
    "scale": "of a layer: largest absolute value that the reference has there, in that chunk; end to end: standard "
    "deviation of the reference's values, but at least 1",
    "relative": "max_abs over scale; this is held against the tolerance",
    "relative_to_float64": "the same against the reference in float64, which is without rounding of its own; measured "
    "where the float32 reference is a little over the tolerance, and then held against it instead",
    "cosine": "cosine of the angle between ours and the reference as one vector each, in float64",
}


_ROUNDING = 10
"""Times the tolerance; measured of the full network in float32: torch up to 1.1e-5 from float64, ours up to 4e-6."""


@dataclass(frozen=True)
class Comparison:
    """One output of both, one chunk of it for a layer."""

    name: str
    """diffusers' path of the layer, `decoder.up_blocks.0.resnets.1.conv1`; end to end `mean`, `logvar`, `frames`."""
    chunk: int | None
    """From 0; None end to end, where all chunks are one."""
    shape: tuple[int, ...]
    """[B T H W C], of the reference."""
    max_abs: float
    mean_abs: float
    scale: float
    relative: float
    cosine: float
    relative_to_float64: float | None = None
    note: str | None = None
    tile: int | None = None
    """From 0, row by row; None where frames are computed whole."""

    def within(self, tolerance: float) -> bool:
        """Whether ours is as near as that to the reference, in float64 where that was measured. False for NaN."""
        return (self.relative if self.relative_to_float64 is None else self.relative_to_float64) <= tolerance

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON: figures that are NaN or infinite become null."""
        figures = {name: getattr(self, name) for name in DEFINITIONS}
        finite = {
            name: value if value is not None and math.isfinite(value) else None for name, value in figures.items()
        }
        where = {"name": self.name, "tile": self.tile, "chunk": self.chunk, "shape": list(self.shape)}
        return where | finite | {"note": self.note}


def compare_layer(name: str, chunk: int, ours: np.ndarray, theirs: np.ndarray, note: str | None = None) -> Comparison:
    """A layer's outputs, equal in shape [B T H W C]."""
    return _compare((name, chunk, note), ours, theirs, float(np.abs(theirs).max()))


def compare_end(name: str, ours: np.ndarray, theirs: np.ndarray) -> Comparison:
    """Results of a whole network, equal in shape. Their bound is absolute, up to a standard deviation of 1."""
    with np.errstate(invalid="ignore"):  # infinities have no deviation
        deviation = float(np.std(theirs, dtype=np.float64))
    return _compare((name, None, None), ours, theirs, max(1.0, deviation))


def _compare(
    what: tuple[str, int | None, str | None], ours: np.ndarray, theirs: np.ndarray, scale: float
) -> Comparison:
    name, chunk, note = what
    if ours.shape != theirs.shape:
        raise RuntimeError(f"{name} is {list(ours.shape)}, and {list(theirs.shape)} in the reference")
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are results here, and they are told
        difference = np.abs(ours - theirs)
        largest = float(difference.max())
        return Comparison(
            name=name,
            chunk=chunk,
            shape=theirs.shape,
            max_abs=largest,
            mean_abs=float(difference.mean(dtype=np.float64)),
            scale=scale,
            relative=_ratio(largest, scale),
            cosine=_cosine(ours, theirs),
            note=note,
        )


def rounding_alone(rows: Iterable[Comparison], tolerance: float) -> bool:
    """Whether some rows are over the tolerance, and none by more than the reference's own rounding can explain."""
    over = [row.relative for row in rows if not row.within(tolerance)]
    return bool(over) and max(over) <= tolerance * _ROUNDING


def judged(rows: Iterable[Comparison], exact: Iterable[Comparison], tolerance: float) -> tuple[Comparison, ...]:
    """The rows; those over the tolerance get what `exact`, the same rows against float64, says of them."""
    found = {(row.name, row.tile, row.chunk): row.relative for row in exact}
    return tuple(
        row if row.within(tolerance) else replace(row, relative_to_float64=found[row.name, row.tile, row.chunk])
        for row in rows
    )


def _ratio(error: float, scale: float) -> float:
    if scale:
        return error / scale
    return 0.0 if error == 0 else math.inf


def _cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    lengths = math.sqrt(_dot(a, a)) * math.sqrt(_dot(b, b))
    return _dot(a, b) / lengths if lengths else math.nan


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Not through BLAS: its threads wait in turns with torch's and XLA's for the same cores."""
    return float(np.sum(a * b))


@dataclass(frozen=True)
class VerifyResult:
    """Every layer of every chunk in the order of computing, then the results of the whole."""

    model: ModelSource
    width: int
    height: int
    frames: int
    tiles: TilesHeader | None
    encode_dtype: str
    decode_dtype: str
    device: str
    """Ours; the reference runs on the CPU."""
    tolerance: float
    layers: tuple[Comparison, ...]
    ends: tuple[Comparison, ...]
    versions: Mapping[str, str]
    seconds: float

    @property
    def first_over(self) -> Comparison | None:
        """The first layer, in the order of computing, that is over the tolerance; else the first end that is."""
        rows = (*self.layers, *self.ends)
        return next((row for row in rows if not row.within(self.tolerance)), None)

    def worst(self) -> list[Comparison]:
        """One row a layer, in the order of computing: the chunk over the tolerance or with the largest error."""
        found: dict[str, Comparison] = {}
        for row in self.layers:
            if row.name not in found or self._badness(row) > self._badness(found[row.name]):
                found[row.name] = row
        return list(found.values())

    def _badness(self, row: Comparison) -> tuple[bool, float]:
        return not row.within(self.tolerance), math.inf if math.isnan(row.relative) else row.relative

    def check(self) -> None:
        """Raises QualityError naming the first layer over the tolerance."""
        row = self.first_over
        if row is None:
            return
        error = row.relative if row.relative_to_float64 is None else row.relative_to_float64
        tile = "" if row.tile is None else f"tile {row.tile}, "
        where = "end to end" if row.chunk is None else f"{tile}chunk {row.chunk}"
        is_float32 = self.encode_dtype == self.decode_dtype == "float32"
        raise QualityError(
            f"{row.name} ({where}) is the first over the tolerance of {self.tolerance:.0e}: relative error {error:.2e}",
            "the layers before it are within; look there first"
            if is_float32
            else f"the reference is float32; computing in {self.encode_dtype} needs a larger --tolerance",
        )

    def as_dict(self) -> dict[str, Any]:
        """What the command prints, ready for JSON; every layer of every chunk."""
        over = self.first_over
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "verify",
            "passed": over is None,
            "first_over": None if over is None else {"name": over.name, "tile": over.tile, "chunk": over.chunk},
            "tolerance": self.tolerance,
            "layer_count": len({row.name for row in self.layers}),
            "layers": [row.as_dict() for row in self.layers],
            "ends": [row.as_dict() for row in self.ends],
            "definitions": dict(DEFINITIONS),
            "input": {"frames": self.frames, "size": size_text(self.width, self.height)},
            "tiles": tile_facts(self.tiles),
            "model": model_facts(self.model),
            "encode_dtype": self.encode_dtype,
            "decode_dtype": self.decode_dtype,
            "device": self.device,
            "versions": dict(self.versions),
            "seconds": round(self.seconds, 3),
        }
