"""What encoding and decoding have in common when they are done: the clip, its latents, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from cogvae_cli.io.latents_header import TilesHeader
from cogvae_cli.model.config import ModelSource
from cogvae_cli.pipeline.results import SCHEMA_VERSION, model_facts, rate_text, tile_facts


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """One clip between a video and a latents file, either way."""

    source: Path
    output: Path
    frames: int
    """Frames of the video, without the padding."""
    width: int
    height: int
    rate: Fraction
    variable_rate: bool
    """Whether the frames are shown at times of their own, not at one rate."""
    latents_shape: tuple[int, int, int, int]
    """[T H W C]"""
    scaled: bool
    posterior: str
    """What of the posterior was stored, or decoded."""
    seed: int | None
    tiles: TilesHeader | None
    model: ModelSource
    compute_dtype: str
    notices: tuple[str, ...]
    """What was decided about the clip, in words."""
    output_bytes: int
    seconds: float
    """Wall time from opening the source to the output in place, without loading the model."""
    compile_seconds: float

    @property
    def frames_per_second(self) -> float:
        """Speed once compiled."""
        return self.frames / max(self.seconds - self.compile_seconds, 1e-9)

    def facts(self, kind: str) -> dict[str, Any]:
        """All of it, ready for JSON; `kind` names the job."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": kind,
            "source": str(self.source),
            "output": str(self.output),
            "output_bytes": self.output_bytes,
            "frames": self.frames,
            "width": self.width,
            "height": self.height,
            "rate": rate_text(self.rate),
            "variable_rate": self.variable_rate,
            "latents": {
                "shape": list(self.latents_shape),
                "scaled": self.scaled,
                "posterior": self.posterior,
                "seed": self.seed,
            },
            "tiles": tile_facts(self.tiles),
            "model": model_facts(self.model),
            "compute_dtype": self.compute_dtype,
            "notices": list(self.notices),
            "seconds": round(self.seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "frames_per_second": round(self.frames_per_second, 3),
        }
