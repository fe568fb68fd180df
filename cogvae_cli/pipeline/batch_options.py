"""What a batch is asked to do, beside how each of its clips is encoded or decoded."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cogvae_cli.errors import UsageError
from cogvae_cli.io.tar_shards import ShardLimit as ShardLimit
from cogvae_cli.pipeline.batch_messages import Kind
from cogvae_cli.pipeline.batch_plan import Shard
from cogvae_cli.pipeline.decode import DecodeOptions
from cogvae_cli.pipeline.encode import KINDS, EncodeOptions

Existing = Literal["resume", "skip", "overwrite"]

_NOT_MADE_OF = {"overwrite", "force", "revision", "container", "max_pixels"}
"""Options that don't change what is in an output; of the model, its identity counts."""

_MOST = 256  # clips that are encoded together
_VIDEOS = ("mp4", "mov", "mkv", "webm", "gif")


@dataclass(frozen=True)
class RayOptions:
    """The Ray cluster that makes the clips of a batch."""

    address: str | None = None
    """`HOST:PORT`, or `auto` for the one that this machine belongs to.
    None: the environment's RAY_ADDRESS, else one that runs on this machine, else a new one of this machine alone."""
    workers: int | None = None
    """Actors; None: as many as the cluster has slots for, while it grows."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} actors make no clip", "give a number from 1 with --ray-workers")
        if self.address is not None and "://" in self.address:
            raise UsageError(
                f"{self.address}: a batch isn't run through Ray's client, which loses it with the connection",
                "run the command on a node of the cluster: ray job submit -- cogvae encode ... --ray auto",
            )


@dataclass(frozen=True)
class BatchOptions:
    """Which clips, where to, and what is done about trouble."""

    recursive: bool = False
    """Look into the folders below those that are given."""
    root: str | None = None
    """What paths in lists and tables start from, and outputs mirror; None: the folder of the list."""
    path_column: str | None = None
    """The column of a table that holds the paths; None: the one that has a usual name."""
    existing: Existing = "resume"
    """Of outputs that are there. All but `overwrite` keep those that are whole and made of the same source, with the
    same settings and model. Of others, `resume` says that they are in the way, `skip` makes them anew."""
    verify: bool = False
    """Read sources and outputs that are there, however unchanged they look."""
    fail_fast: bool = False
    """End with the first clip that fails."""
    timeout: float = 600.0
    """Seconds without a frame after which a clip, and without a sign of life after which the worker, is given up."""
    log_file: Path | None = None
    shards: ShardLimit | None = None
    """Write outputs into tar files of at most that size, not into files of their own."""
    shard: Shard | None = None
    batch_size: int = 1
    """Clips of one shape that are encoded together."""
    flip: bool = False
    """Give each clip a second output, of its mirror image."""
    store: str | None = None
    """The URL of outputs, where they have one; set by `run_batch`."""
    ray: RayOptions | None = None
    """Have a Ray cluster make the clips; None: one process of this machine."""

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= _MOST:
            raise UsageError(f"a batch size of {self.batch_size} is not within 1 to {_MOST}")
        if self.timeout <= 0:
            raise UsageError(f"a timeout of {self.timeout:g} s leaves no time", "give some minutes")
        if self.shards is not None and self.existing != "resume":
            raise UsageError("single clips of tar shards can't be replaced", "take another --out-dir")
        if self.shards is not None and self.store is not None:
            raise UsageError("tar shards grow, and what is in a store can't", "write them to a disk, and copy them")
        if self.verify and self.existing == "overwrite":
            raise UsageError("-y makes every output anew, so there is none to verify", "leave out -y")

    @property
    def manifest(self) -> str:
        """Name of the manifest; each shard has its own."""
        return "manifest.jsonl" if self.shard is None else f"manifest-{self.shard.index}-of-{self.shard.count}.jsonl"

    @property
    def failures(self) -> str:
        """Name of the list of clips that failed."""
        return self.manifest.replace("manifest", "failed")


def suffix_of(options: EncodeOptions | DecodeOptions) -> str:
    """What outputs are named. Raises UsageError for what a batch can't write."""
    if isinstance(options, EncodeOptions):
        names = {kind: suffix for suffix, kind in KINDS.items()}
        if options.program is not None:
            return ".pt"
        return names[options.container or "npz"]
    container = options.video.container or "mp4"
    if container not in _VIDEOS:
        raise UsageError(f"a batch writes no {container}", f"choose of {', '.join(_VIDEOS)} with --format")
    if options.video.audio is not None:
        raise UsageError("--audio is one file's sound, and a batch has many videos", "leave it out")
    return f".{container}"


def mirrored(options: EncodeOptions) -> EncodeOptions:
    """The same, of the mirror image."""
    return dataclasses.replace(options, reading=dataclasses.replace(options.reading, mirror=True))


def settings_hash(kind: Kind, options: EncodeOptions | DecodeOptions) -> str:
    """sha256 of all that was asked for and changes what is in an output."""
    values = _plain(dataclasses.asdict(options))
    if isinstance(options, EncodeOptions):
        values["seed"] = options.choice().seed
    text = json.dumps({"kind": kind, "suffix": suffix_of(options), **values}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(values: dict[str, object]) -> dict[str, object]:
    kept = {name: value for name, value in values.items() if name not in _NOT_MADE_OF}
    return {name: _plain(value) if isinstance(value, dict) else value for name, value in kept.items()}
