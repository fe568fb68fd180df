"""The clips that a batch cuts a video into: what they are called, and which of them are there already."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from cogvae_cli.io.manifest import Manifest
from cogvae_cli.pipeline.batch_existing import Judge, Judgement
from cogvae_cli.pipeline.batch_plan import Clip, window_name


def window_of(clip: Clip, start: int) -> Clip:
    """The clip that starts with that frame."""
    return dataclasses.replace(clip, output=window_name(clip.output, start))


@dataclass
class WindowsThere:
    """What is there of a video's clips, from the first one on."""

    kept: list[tuple[Clip, Judgement]] = field(default_factory=list)
    """Those that can stay."""
    fault: tuple[Clip, str] | None = None
    """The one after them, where it is there and can't."""
    start: int | None = 0
    """Where the first one starts that has to be made; None if all can stay."""


def windows_there(clip: Clip, stride: int, judge: Judge, manifest: Manifest) -> WindowsThere:
    """Goes by the manifest, for only it says which clip is the last. Raises as Judge."""
    found, start = WindowsThere(), 0
    while True:
        window = window_of(clip, start)
        row = manifest.last(window.output)
        judgement = None if row is None or row.get("status") != "done" else judge.judge(window, row)
        found.start = start
        if row is None or judgement is None:
            return found
        if judgement.fault is not None:
            found.fault = (window, judgement.fault)
            return found
        found.kept.append((window, judgement))
        if row.get("is_last_window"):
            found.start = None
            return found
        start += stride
