"""Whether an output that is there can stay: whole, and made of the same source with the same settings and model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogvae_cli.errors import CogvaeError, LatentsError
from cogvae_cli.io.store import Store
from cogvae_cli.io.tar_shards import is_in_shard, read_sample
from cogvae_cli.pipeline.batch_options import BatchOptions
from cogvae_cli.pipeline.decode import DecodeOptions
from cogvae_cli.pipeline.encode import EncodeOptions

if TYPE_CHECKING:
    from cogvae_cli.io.latents_header import LatentsHeader
    from cogvae_cli.pipeline.batch_plan import Clip

Row = Mapping[str, Any]

_READING = ("fps", "start", "duration", "frames", "stream", "autorotate", "colorspace", "deinterlace", "size", "fit")
_ASKED = (*_READING, "buckets", "mirror", "window", "dtype", "tile", "tile_overlap", "tile_layout")
"""Settings that a latents file's header records as they were asked for."""


@dataclass(frozen=True)
class Judgement:
    """What is to be done about an output."""

    fault: str | None
    """Why it can't stay; None where it can."""
    row: dict[str, Any] | None = None
    """A new row for the manifest: of an output that can stay, but had none, or has new time stamps."""


class Judge:
    """Judges the outputs that some options make."""

    def __init__(
        self,
        options: EncodeOptions | DecodeOptions,
        settings: str,
        out: Path,
        identity: str | None,
        batch: BatchOptions,
    ) -> None:
        """`settings` is the hash of the options; `identity` the model's, None where each file names its own."""
        self._options, self._settings = options, settings
        self._out, self._identity, self._verify = out, identity, batch.verify
        self._in_shards = batch.shards is not None
        self._store = None if batch.store is None else Store(batch.store)

    def judge(self, clip: Clip, row: Row | None) -> Judgement | None:
        """What is to be done about a clip's output; None where there is none. `row` is the manifest's."""
        if row is not None and row.get("status") != "done":
            row = None
        stamp = self._output_stamp(clip, row)
        if stamp is None or (row is None and self._store is not None):
            return None  # in a store, what has no row is compared with what is made
        if row is None:
            return self._by_header(clip, self._out / clip.output)
        fault = self._fault_of_making(row, self._out / clip.output)
        if fault is not None:
            return Judgement(fault)
        if self._verify or any(row.get(name) != value for name, value in stamp.items()):
            fault = self._fault_of_bytes(row)
        source, unsure = self._source_stamp(clip, row)
        if fault is None and unsure:
            fault = _fault_of_source(clip, row.get("source_sha256"))
        changed = {name: value for name, value in {**stamp, **source}.items() if row.get(name) != value}
        return Judgement(fault, {**row, **changed} if changed and fault is None else None)

    def _output_stamp(self, clip: Clip, row: Row | None) -> dict[str, Any] | None:
        """The output's size and time; None where there is none. What a row has in a shard can't have changed alone."""
        if self._store is not None:
            return None if row is None else self._store.stamp(clip.output)
        if self._in_shards:
            return {} if row is not None and is_in_shard(self._out, row) else None
        try:
            status = (self._out / clip.output).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return {"output_bytes": status.st_size, "output_mtime_ns": status.st_mtime_ns}

    def _fault_of_making(self, row: Row, output: Path) -> str | None:
        """Whether other settings or another model made it, as the manifest says."""
        if row.get("settings") != self._settings:
            return self._differing(output) or "it was made with other settings"
        if self._identity not in (None, row.get("model_identity")):
            return f"it was made by another model, {row.get('model')}"
        return None

    def _fault_of_bytes(self, row: Row) -> str | None:
        from cogvae_cli.io.fingerprint import sha256_of
        from cogvae_cli.io.remote import url_sha256

        if self._store is not None:
            digest = url_sha256(self._store.url_of(row["output"]))
        elif self._in_shards:
            digest = hashlib.sha256(read_sample(self._out, row)).hexdigest()
        else:
            digest = sha256_of(self._out / row["output"])
        return None if digest == row.get("sha256") else "it isn't as it was written"

    def _source_stamp(self, clip: Clip, row: Row) -> tuple[dict[str, Any], bool]:
        """The source's size and time, and whether they leave a doubt."""
        from cogvae_cli.io.fingerprint import stamp_of

        stamp = stamp_of(clip.source)
        is_sure = all(value is not None and row.get(name) == value for name, value in stamp.items())
        return stamp, self._verify or not is_sure

    def _by_header(self, clip: Clip, output: Path) -> Judgement:
        """Of an output that the manifest doesn't know: latents say how they were made, and a video doesn't."""
        from cogvae_cli.io.fingerprint import sha256_of
        from cogvae_cli.io.latents import open_latents

        if not isinstance(self._options, EncodeOptions) or self._options.program is not None:
            return Judgement("the manifest doesn't know it")
        try:
            with open_latents(output) as reader:
                header, shape = reader.header, reader.shape
        except LatentsError as error:
            return Judgement(f"it is no whole latents file: {error}")
        fault = self._difference(header) or _fault_of_source(clip, header.source.sha256)
        if fault is not None:
            return Judgement(fault)
        status, (source, _) = output.stat(), self._source_stamp(clip, {})
        facts = {
            "frames": header.frames.count,
            "width": header.frames.width,
            "height": header.frames.height,
            "latents_shape": list(shape),
            "output_bytes": status.st_size,
            "output_mtime_ns": status.st_mtime_ns,
            "sha256": sha256_of(output),
            "source_sha256": header.source.sha256,
            "model": header.model.name,
            "model_identity": header.model.identity,
        }
        return Judgement(None, facts | source)

    def _differing(self, output: Path) -> str | None:
        """Which setting differs, where the output says it."""
        from cogvae_cli.io.latents import read_header

        options = self._options
        if not isinstance(options, EncodeOptions) or options.program is not None:
            return None
        if self._in_shards or self._store is not None:
            return None
        try:
            return self._difference(read_header(output)[0])
        except LatentsError as error:
            return f"it is no whole latents file: {error}"

    def _difference(self, header: LatentsHeader) -> str | None:
        """What of a latents file was made otherwise than this job would."""
        from cogvae_cli.io.video_reader import asked

        options = self._options
        if not isinstance(options, EncodeOptions):
            return None
        if header.model.identity != self._identity:
            return f"it was made by another model, {header.model.name}"
        choice, reading = options.choice(), options.reading
        wanted: dict[str, object] = {"store dtype": options.store_dtype, "posterior": choice.kind, "seed": choice.seed}
        made: dict[str, object] = {"store dtype": header.dtype, "posterior": header.posterior, "seed": header.seed}
        wanted |= {"scaled": options.scaled, "frames policy": options.frames_policy}
        made |= {"scaled": header.scaled, "frames policy": header.frames.policy}
        settings = asked(reading) | options.tiles.as_settings() | {"dtype": options.dtype or "float32"}
        wanted |= {name: settings.get(name) for name in _ASKED}
        made |= {name: header.settings.get(name) for name in _ASKED}
        if "alpha" in header.settings:
            wanted, made = wanted | {"alpha": reading.alpha}, made | {"alpha": header.settings["alpha"]}
        if "damaged" in header.settings and reading.on_error == "fail":
            return "it was made of the good part of a damaged video"
        name = next((name for name in wanted if wanted[name] != made[name]), None)
        return None if name is None else f"it was made with {name} {_shown(made[name])}, not {_shown(wanted[name])}"


def _shown(value: object) -> str:
    return "none" if value is None else str(value)


def _fault_of_source(clip: Clip, sha256: object) -> str | None:
    from cogvae_cli.io.fingerprint import source_sha256

    try:
        return None if source_sha256(clip.source) == sha256 else "its source has changed"
    except CogvaeError as error:
        return str(error)
