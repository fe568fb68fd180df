"""What is known of a video only once it was read to its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cogvae_cli.pipeline.progress import Progress

if TYPE_CHECKING:
    from cogvae_cli.io.read_options import ReadOptions
    from cogvae_cli.io.timing import Timing


def timing_of(source: Path, progress: Progress, options: ReadOptions | None = None) -> Timing:
    """Counts a video's frames by decoding all of them. Raises VideoError."""
    from cogvae_cli.io.video_reader import VideoReader

    progress.phase("counting the frames")
    with VideoReader(source, options) as reader:
        for _ in reader.frames():
            pass
        return reader.timing
