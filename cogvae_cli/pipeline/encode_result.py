"""What was encoded, with every figure that the command prints."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from cogvae_cli.io.latents_header import TilesHeader
from cogvae_cli.model.config import ModelSource
from cogvae_cli.pipeline.results import SCHEMA_VERSION, model_facts, rate_text, tile_facts


@dataclass(frozen=True)
class EncodeResult:
    """What was encoded, and what it cost."""

    source: Path
    output: Path
    frames: int
    """Frames of the video, without the padding."""
    padded_frames: int
    dropped_frames: int
    """Frames of the source that `trim` left out."""
    frames_policy: str
    width: int
    height: int
    rate: Fraction
    variable_rate: bool
    latents_shape: tuple[int, int, int, int]
    """[T H W C]"""
    store_dtype: str
    scaled: bool
    scaling_factor: float
    posterior: str
    seed: int | None
    tiles: TilesHeader | None
    model: ModelSource
    compute_dtype: str
    notices: tuple[str, ...]
    """What was decided about the video, in words."""
    damage: str | None
    """What is wrong with the source, where only the good frames before that were encoded."""
    output_bytes: int
    seconds: float
    """Wall time from opening the video to the file in place, without loading the model."""
    compile_seconds: float

    @property
    def frames_per_second(self) -> float:
        """Speed once compiled."""
        return self.frames / max(self.seconds - self.compile_seconds, 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "encode",
            "source": str(self.source),
            "output": str(self.output),
            "output_bytes": self.output_bytes,
            "frames": self.frames,
            "padded_frames": self.padded_frames,
            "dropped_frames": self.dropped_frames,
            "frames_policy": self.frames_policy,
            "width": self.width,
            "height": self.height,
            "rate": rate_text(self.rate),
            "variable_rate": self.variable_rate,
            "latents": {
                "shape": list(self.latents_shape),
                "dtype": self.store_dtype,
                "scaled": self.scaled,
                "scaling_factor": self.scaling_factor,
                "posterior": self.posterior,
                "seed": self.seed,
            },
            "tiles": tile_facts(self.tiles),
            "model": model_facts(self.model),
            "compute_dtype": self.compute_dtype,
            "notices": list(self.notices),
            "damage": self.damage,
            "seconds": round(self.seconds, 3),
            "compile_seconds": round(self.compile_seconds, 3),
            "frames_per_second": round(self.frames_per_second, 3),
        }
