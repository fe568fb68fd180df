"""What a job would do: everything is checked that can be without a model's weights, and nothing is written or fetched.

A dry run raises what the job itself would raise at its start. Batches: `batch_dry_run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogvae_cli.model.chunks import latents_of, padded, trimmed
from cogvae_cli.model.config import BUILT_IN, DEFAULT_MODEL, SPACE
from cogvae_cli.pipeline.frames import padding
from cogvae_cli.pipeline.options import TileOptions
from cogvae_cli.pipeline.progress import Notices, Progress
from cogvae_cli.pipeline.results import SCHEMA_VERSION, size_text

if TYPE_CHECKING:
    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.pipeline.convert_plan import ConvertOptions
    from cogvae_cli.pipeline.decode import DecodeOptions
    from cogvae_cli.pipeline.encode import EncodeOptions
    from cogvae_cli.pipeline.roundtrip_options import RoundtripOptions

UNKNOWN = "as many as the video has; its headers don't say"


@dataclass(frozen=True)
class DryRun:
    """What would be done."""

    job: str
    plan: Mapping[str, Any]
    """By what it is about, ready for JSON."""
    outputs: tuple[Path, ...]
    notices: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        outputs = [{"path": str(path), "exists": path.exists()} for path in self.outputs]
        about = {"schema_version": SCHEMA_VERSION, "kind": "dry-run", "job": self.job}
        return about | dict(self.plan) | {"outputs": outputs, "notices": list(self.notices)}

    def rows(self) -> list[tuple[str, str]]:
        """The plan for a table."""
        rows = [(name.replace("_", " "), str(value)) for name, value in self.plan.items() if value is not None]
        ends = [", in place of the one that is there" if path.exists() else "" for path in self.outputs]
        return rows + [("would write", f"{path}{end}") for path, end in zip(self.outputs, ends, strict=True)]


def plan_encode(
    source: Path, output: Path, *, model: str = DEFAULT_MODEL, options: EncodeOptions, progress: Progress
) -> DryRun:
    """What `encode_file` would do."""
    from cogvae_cli.io.destinations import check_file
    from cogvae_cli.io.picture_sequence import files_of
    from cogvae_cli.io.standard_streams import local
    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.pipeline.encode import kind_of

    kind, choice, notices = kind_of(output, options.container), options.choice(), Notices(progress)
    check_file(output, overwrite=options.overwrite, inputs=files_of(source))
    with local(source) as path, VideoReader(path, options.reading) as reader:
        notices.tell(reader.notices)
        plan = _video_plan(reader, options.tiles, options.frames_policy)
        plan |= {"stored": f"{choice.kind} in {options.store_dtype}, {kind}"}
        plan |= {"model": model_text(model, options.revision), "dtype": options.dtype or "float32"}
    return DryRun("encode", plan, (output,), notices.told)


def plan_roundtrip(source: Path | None, *, model: str | None, options: RoundtripOptions, progress: Progress) -> DryRun:
    """What `roundtrip_file` would do."""
    from cogvae_cli.io.standard_streams import local
    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.pipeline.roundtrip import built_in_clip, check_kept, check_outputs

    if source is None:
        with built_in_clip() as clip:
            return plan_roundtrip(clip, model=model or BUILT_IN, options=options, progress=progress)
    notices, files = Notices(progress), check_outputs(source, options)
    with local(source) as path, VideoReader(path, options.reading) as reader:
        check_kept(reader, options)
        notices.tell(reader.notices)
        plan = _video_plan(reader, options.tiles, "pad")
        plan |= {"model": model_text(model or DEFAULT_MODEL, options.revision), "dtype": options.dtype}
    kept = () if options.output is None else (options.output,)
    report = () if files is None else tuple(path for path in (files.page, files.figures) if path is not None)
    return DryRun("roundtrip", plan, (*kept, *report), notices.told)


def plan_decode(source: Path, output: Path, *, model: str | None, options: DecodeOptions, progress: Progress) -> DryRun:
    """What `decode_file` would do."""
    from cogvae_cli.io.destinations import check_video
    from cogvae_cli.io.standard_streams import local
    from cogvae_cli.pipeline.decode import check_header, named_model
    from cogvae_cli.pipeline.importing import open_any
    from cogvae_cli.pipeline.posterior import choose_of_stored

    notices = Notices(progress)
    with (
        local(source) as path,
        open_any(path, model, revision=options.revision, options=options.foreign, notices=notices) as reader,
    ):
        header, (length, height, width, channels) = reader.header, reader.shape
        write = options.video.options_for(output, header)
        check_video(output, write, frames=header.frames.count, overwrite=options.overwrite, inputs=[source])
        check_header(source, header, length)
        choice = choose_of_stored(header, options.posterior, options.seed)
        name, revision = named_model(header, model, options.revision)
        frames = header.frames
        plan = {
            "latents": f"{length} frames of {size_text(width, height)}, {channels} channels",
            "posterior": header.posterior if choice is None else choice.kind,
            "frames": f"{frames.count} of {size_text(frames.width, frames.height)} at {header.timing.rate} frames/s",
            "container": f"{write.container}, {write.codec_facts.title if write.codec_facts else 'no codec'}",
            "tiles": _tiles_text(options.tiles, height * SPACE, width * SPACE),
            "model": model_text(name, revision),
            "dtype": options.dtype,
        }
    return DryRun("decode", plan, (output,), notices.told)


def plan_convert(
    source: Path, output: Path, *, model: str | None, options: ConvertOptions, progress: Progress
) -> DryRun:
    """What `convert_file` would do."""
    from cogvae_cli.pipeline.convert import planned

    notices = Notices(progress)
    with planned(source, output, model=model, options=options, notices=notices) as (reader, plan, target):
        length, height, width, channels = reader.shape
        header = plan.header
        facts = {
            "latents": f"{length} frames of {size_text(width, height)}, {channels} channels, {header.dtype}",
            "posterior": header.posterior,
            "scaled": f"times {header.scaling_factor}" if header.scaled else "no",
            "model": header.model.name,
            "container": target.format or target.container,
        }
    return DryRun("convert", facts, (output,), notices.told)


def _video_plan(reader: VideoReader, tiles: TileOptions, policy: str) -> dict[str, Any]:
    """Frames and latents of a video, as far as its headers tell them."""
    info, count = reader.info, reader.expected_frames
    height, width = (side + padding(side) for side in (info.height, info.width))
    rate = info.rate or Fraction(0)
    plan: dict[str, Any] = {
        "video": f"{info.name}, {info.codec} in {info.container}",
        "frames": f"{count if count is not None else UNKNOWN}, of {size_text(info.width, info.height)}"
        f"{f' at {rate} frames/s' if rate else ''}",
    }
    if count is not None:
        encoded = trimmed(count) if policy == "trim" else padded(count) if policy == "pad" else count
        plan["encoded"] = f"{encoded} frames of {size_text(width, height)}"
        shape = f"{latents_of(encoded)} frames of {size_text(width // SPACE, height // SPACE)}"
        plan["latents"] = shape
    return plan | {"tiles": _tiles_text(tiles, height, width)}


def _tiles_text(tiles: TileOptions, height: int, width: int) -> str:
    tiling = tiles.tiling()
    if tiles.tile == "auto":
        return "chosen by the device's memory when the job runs"
    grid = None if tiling is None else tiling.grid(height, width)
    if tiling is None or grid is None:
        return "none: frames are computed whole"
    counts = f"{len(grid.columns)}x{len(grid.rows)}"
    return f"{counts} of {size_text(tiling.width, tiling.height)}, {tiling.layout}"


def model_text(model: str, revision: str | None) -> str:
    """The model and where it is. Raises what finding it raises, but never asks the Hub."""
    from cogvae_cli.io import hub
    from cogvae_cli.io.hub_cache import cached_model, commit_of

    wanted = hub.on_hub(model, revision)
    if wanted is None:
        files = hub.find_model(model, revision=revision)
        return f"{model}, built in" if model == BUILT_IN else f"{model}, in {files.config.parent}"
    commit = commit_of(wanted.repo, wanted.revision)
    there = commit is not None and cached_model(model, wanted.repo, commit) is not None
    where = "in the cache" if there else "would be fetched from the Hub"
    return f"{model}, {wanted.repo} at {wanted.revision[:12]}, {where}"
