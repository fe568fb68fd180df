"""What the supervisor of a batch and its worker tell each other. Pickled: both are this program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cogvae_cli.errors import CogvaeError
from cogvae_cli.pipeline.decode import DecodeOptions
from cogvae_cli.pipeline.encode import EncodeOptions
from cogvae_cli.pipeline.together import WAITING as WAITING

Kind = Literal["encode", "decode"]


@dataclass(frozen=True)
class Job:
    """The first message to a worker: all that its clips have in common."""

    kind: Kind
    model: str | None
    options: EncodeOptions | DecodeOptions
    work: Path
    """Folder that outputs are made in."""
    suffix: str
    """Of the outputs."""
    threads: int
    """Clips that are worked on at a time; one of them computes."""
    store: str | None = None
    """The URL that outputs are put below by whoever makes them; None: they stay in `work`."""
    batch_size: int = 1
    """Clips of one shape that are encoded together."""


@dataclass(frozen=True)
class Task:
    """One clip for a worker."""

    number: int
    source: str
    mirrored: bool = False
    first: int = 0
    """Where a video is cut into clips: the frame that the first one wanted starts with."""
    output: str = ""
    """Its place below the store, where there is one."""
    overwrite: bool = False
    """Whether it may replace what is there."""


@dataclass(frozen=True)
class Ready:
    """The worker has its model."""


@dataclass(frozen=True)
class Broken:
    """The worker can't work at all, and nor could another one."""

    error: CogvaeError


@dataclass(frozen=True)
class Beat:
    """The worker lives."""


@dataclass(frozen=True)
class Phase:
    """As `Progress.phase`, of one clip."""

    number: int
    name: str


@dataclass(frozen=True)
class Advanced:
    """As `Progress.begin` and `advance`: frames done of a total, which is None where it isn't known."""

    number: int
    done: int
    total: int | None


@dataclass(frozen=True)
class Noticed:
    """As `Progress.notice`, of one clip, or of all where the number is None."""

    number: int | None
    text: str


@dataclass(frozen=True)
class Made:
    """A clip is whole, in the work folder."""

    number: int
    path: Path
    facts: Mapping[str, Any]
    """Fields of its row."""


@dataclass(frozen=True)
class Part:
    """One of several clips of a video is whole, in the work folder; others follow, the last one as Made."""

    number: int
    path: Path
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """A clip couldn't be done. `unexpected`: by a fault that may have left the worker unsound."""

    number: int
    kind: str
    """The error's class."""
    message: str
    hint: str | None
    unexpected: bool
    trace: str


ToWorker = Job | Task
FromWorker = Ready | Broken | Beat | Phase | Advanced | Noticed | Part | Made | Failed

Event = Phase | Advanced | Noticed | Part | Made | Failed
"""Of these, what is about clips."""
