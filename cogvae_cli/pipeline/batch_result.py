"""What became of a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cogvae_cli.errors import CogvaeError
from cogvae_cli.pipeline.results import SCHEMA_VERSION


@dataclass
class Counts:
    """Clips and frames so far."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    damaged: int = 0
    """Of those done: encoded up to where their source is damaged, as was asked for."""
    frames: int = 0
    restarts: int = 0
    """Times that a worker crashed or hung."""

    @property
    def settled(self) -> int:
        """Clips that are over."""
        return self.done + self.skipped + self.failed


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch."""

    kind: str
    out: str
    """The folder, or its URL."""
    manifest: str
    failures: str | None
    """The list of clips that failed; None where none did."""
    clips: int
    counts: Counts
    seconds: float
    first_error: str | None = field(default=None)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "summary",
            "job": self.kind,
            "out_dir": self.out,
            "manifest": self.manifest,
            "failures": self.failures,
            "clips": self.clips,
            **vars(self.counts),
            "seconds": round(self.seconds, 3),
        }

    def check(self) -> None:
        """Raises CogvaeError if a clip failed, or is whole only in part."""
        counts = self.counts
        if counts.failed:
            left = self.clips - counts.settled
            rest = f", and {left} were left" if left else ""
            raise CogvaeError(
                f"{counts.failed} of {self.clips} clips failed{rest}; the first: {self.first_error}",
                f"they are in {self.failures}; give it as the input to try them again",
            )
        if counts.damaged:
            raise CogvaeError(
                f"of {counts.damaged} of {self.clips} clips only the good frames before some damage were taken",
                "--on-error fail refuses such clips",
            )
