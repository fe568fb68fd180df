"""What a comparison of two videos found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogvae_cli.pipeline.gates import Verdict
from cogvae_cli.pipeline.report_facts import definitions, quality_facts
from cogvae_cli.pipeline.results import SCHEMA_VERSION, rate_text

if TYPE_CHECKING:
    from cogvae_cli.io.perceptual import Perceptual
    from cogvae_cli.report.metrics import Quality


@dataclass(frozen=True)
class CompareResult:
    """How far the second video is from the first one, and what it took to know."""

    first: Path
    second: Path
    report: Path | None
    width: int
    height: int
    rate: Fraction
    """Of the first video."""
    variable_rate: bool
    quality: Quality
    perceptual: Perceptual | None
    """What ffmpeg measured; None where neither a report nor a bound on VMAF was asked for."""
    verdicts: tuple[Verdict, ...]
    """What became of the bounds that were set."""
    device: str
    notices: tuple[str, ...]
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What only the report tells, ready for JSON; empty without a report."""

    @property
    def frames_per_second(self) -> float:
        return self.quality.frames / max(self.seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """What the command prints, ready for JSON: all but the figures by frame."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "compare",
            "first": str(self.first),
            "second": str(self.second),
            "report": None if self.report is None else str(self.report),
            "frames": self.quality.frames,
            "width": self.width,
            "height": self.height,
            "rate": rate_text(self.rate),
            "variable_rate": self.variable_rate,
            "quality": quality_facts(self.quality, self.perceptual),
            "gates": [verdict.as_dict() for verdict in self.verdicts],
            "definitions": definitions(self.perceptual),
            "device": self.device,
            "notices": list(self.notices),
            "damage": None,
            "seconds": round(self.seconds, 3),
            "frames_per_second": round(self.frames_per_second, 3),
        }

    def report_dict(self) -> dict[str, Any]:
        """The report, as docs/report.md describes it: what the command prints, and the details."""
        return self.as_dict() | dict(self.details)
