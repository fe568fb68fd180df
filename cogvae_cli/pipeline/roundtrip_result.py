"""What a round trip found: the figures of the clip, and the report with those of each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogvae_cli.model.chunks import FIRST_FRAMES, FRAMES
from cogvae_cli.model.config import ModelSource
from cogvae_cli.pipeline.gates import Verdict
from cogvae_cli.pipeline.report_facts import definitions, quality_facts
from cogvae_cli.pipeline.results import SCHEMA_VERSION, model_facts, rate_text, tile_facts

if TYPE_CHECKING:
    from cogvae_cli.io.latents_header import TilesHeader
    from cogvae_cli.io.perceptual import Perceptual
    from cogvae_cli.report.metrics import Quality


@dataclass(frozen=True)
class RoundtripResult:
    """What came back, how good it is, and what it cost."""

    source: Path
    output: Path | None
    report: Path | None
    width: int
    height: int
    rate: Fraction
    variable_rate: bool
    padded_frames: int
    latents_shape: tuple[int, int, int, int]
    """[T H W C]"""
    tiles: TilesHeader | None
    quality: Quality
    perceptual: Perceptual | None
    """What ffmpeg measured; None where neither a report nor a bound on VMAF was asked for."""
    verdicts: tuple[Verdict, ...]
    """What became of the bounds that were set."""
    model: ModelSource
    encode_dtype: str
    decode_dtype: str
    device: str
    notices: tuple[str, ...]
    damage: str | None
    """What is wrong with the source, where only the good frames before that were taken."""
    seconds: float
    """Wall time without loading the model."""
    compile_seconds: float
    cost: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Sizes, time by stage and memory, ready for JSON."""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What only the report tells, ready for JSON; empty without a report."""

    @property
    def frames_per_second(self) -> float:
        """Speed of encoding and decoding together, once compiled."""
        return self.quality.frames / max(self.seconds - self.compile_seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """What the command prints, ready for JSON: all but the figures by frame."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "roundtrip",
            "source": str(self.source),
            "output": None if self.output is None else str(self.output),
            "report": None if self.report is None else str(self.report),
            "frames": self.quality.frames,
            "padded_frames": self.padded_frames,
            "width": self.width,
            "height": self.height,
            "rate": rate_text(self.rate),
            "variable_rate": self.variable_rate,
            "latents": {"shape": list(self.latents_shape)},
            "tiles": tile_facts(self.tiles),
            "quality": quality_facts(self.quality, self.perceptual),
            "gates": [verdict.as_dict() for verdict in self.verdicts],
            "definitions": definitions(self.perceptual),
            "model": model_facts(self.model),
            "encode_dtype": self.encode_dtype,
            "decode_dtype": self.decode_dtype,
            "device": self.device,
            "notices": list(self.notices),
            "damage": self.damage,
            "seconds": round(self.seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "frames_per_second": round(self.frames_per_second, 3),
            **self.cost,
        }

    def report_dict(self) -> dict[str, Any]:
        """The report, as docs/report.md describes it: what the command prints, and the details."""
        return self.as_dict() | {"chunks": {"first": FIRST_FRAMES, "rest": FRAMES}} | dict(self.details)
