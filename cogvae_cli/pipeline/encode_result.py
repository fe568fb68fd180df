"""What was encoded, with every figure that the command prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cogvae_cli.pipeline.clip_result import ClipResult


@dataclass(frozen=True, kw_only=True)
class EncodeResult(ClipResult):
    """What was encoded, and what it cost."""

    padded_frames: int
    dropped_frames: int
    """Frames of the source that `trim` left out."""
    frames_policy: str
    store_dtype: str
    scaling_factor: float
    source_sha256: str
    damage: str | None
    """What is wrong with the source, where only the good frames before that were encoded."""

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        facts = self.facts("encode")
        facts["latents"] |= {"dtype": self.store_dtype, "scaling_factor": self.scaling_factor}
        return facts | {
            "padded_frames": self.padded_frames,
            "dropped_frames": self.dropped_frames,
            "frames_policy": self.frames_policy,
            "damage": self.damage,
        }
