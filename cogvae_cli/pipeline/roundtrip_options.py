"""How a round trip runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cogvae_cli.pipeline.gates import Gates
from cogvae_cli.pipeline.options import RunOptions
from cogvae_cli.pipeline.video_options import ReadOptions, VideoOptions


@dataclass(frozen=True)
class RoundtripOptions(RunOptions):
    """How a round trip runs and what it leaves behind."""

    output: Path | None = None
    """Where the decoded video goes, if anywhere."""
    report: Path | None = None
    """Where the report goes, if anywhere: an .html page with its figures in a .json beside it, or a .json alone."""
    gates: Gates = field(default_factory=Gates)
    """Least figures; the result says which were reached, and nothing is raised."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """Which part of the video is read, and how."""
    video: VideoOptions = field(default_factory=VideoOptions)
    overwrite: bool = False
