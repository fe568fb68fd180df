"""What a video, a latents file or a model is: facts, without computing anything."""

from __future__ import annotations

import difflib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cogvae_cli.errors import InputError, UsageError
from cogvae_cli.model.chunks import latents_of, padded
from cogvae_cli.model.config import BUILT_IN, PRESETS, SPACE
from cogvae_cli.pipeline.frames import padding
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.results import SCHEMA_VERSION, model_facts, rate_text, size_text, tile_facts
from cogvae_cli.pipeline.video_options import ReadOptions

if TYPE_CHECKING:
    from cogvae_cli.io.video_reader import VideoInfo

LATENTS_SUFFIX = ".npz"
EITHER_SUFFIX = ".safetensors"
"""Of latents and of weights."""

_ANY = ReadOptions(hdr="tonemap")
"""HDR is described like any other video."""

LONGEST_HEADER = 100_000_000
"""Bytes; the format allows no more."""


@dataclass(frozen=True)
class Description:
    """Facts about one thing; nested mappings and lists of what JSON holds."""

    kind: str
    """`video`, `latents` or `model`."""
    facts: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The facts, ready for JSON."""
        return {"schema_version": SCHEMA_VERSION, "kind": self.kind, **self.facts}

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each fact, in words; what is unknown is left out."""
        return [("kind", self.kind), *_rows(self.facts, "")]


def describe(
    target: str | Path, *, count: bool = False, revision: str | None = None, progress: Progress | None = None
) -> Description:
    """Tells what a video, a latents file, a model's folder or file, or a model's name is.

    `count` decodes a video to count its frames and to see whether its rate varies. A model on the Hub is fetched.
    Raises InputError and its kinds, HubError, and UsageError for an option of another kind of thing.
    """
    progress = progress or Progress()
    path = Path(target)
    kind = _kind(path, str(target))
    if count and kind != "video":
        raise UsageError(f"{target} is no video, so it has no frames to count", "leave out --count")
    if revision is not None and kind != "model":
        raise UsageError(f"{target} is no model, so it has no revision", "leave out --revision")
    if kind == "model":
        return _model(str(target), revision, progress)
    return _latents(path) if kind == "latents" else _video(path, count, progress)


def _kind(path: Path, target: str) -> str:
    if path.is_dir():
        return "video" if _holds_pictures(path) else "model"
    if path.exists():
        return _kind_of_file(path)
    if _is_numbered(path):
        return "video"
    known = target == BUILT_IN or target in PRESETS
    looks_like_file = path.suffix in (LATENTS_SUFFIX, EITHER_SUFFIX) or mimetypes.guess_type(target)[0] is not None
    if known or ("/" in target and not target.startswith((".", "/", "~")) and not looks_like_file):
        return "model"
    names = [BUILT_IN, *PRESETS]
    near = difflib.get_close_matches(target.lower(), names, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"{target}: no such file, and no model of that name{meant}", f"models: {', '.join(names)}")


def _holds_pictures(folder: Path) -> bool:
    """Whether a folder is a video of pictures, not a model."""
    from cogvae_cli.io.pictures import pictures_in

    return not (folder / "config.json").exists() and not (folder / "vae").exists() and bool(pictures_in(folder))


def _is_numbered(path: Path) -> bool:
    from cogvae_cli.io.pictures import numbered_files

    return bool(numbered_files(path))


def _kind_of_file(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix == EITHER_SUFFIX:
        return "latents" if _says_latents(path) else "model"
    return "latents" if suffix == LATENTS_SUFFIX else "video"


def _says_latents(path: Path) -> bool:
    """Whether a safetensors file has the header of latents; a broken file has not, and reading it as weights tells."""
    from cogvae_cli.io.json_fields import MalformedError
    from cogvae_cli.io.npz import HEADER
    from cogvae_cli.io.safetensors_file import read_layout

    try:
        with path.open("rb") as file:
            return HEADER in read_layout(file, LONGEST_HEADER).metadata
    except MalformedError:
        return False


def _video(path: Path, count: bool, progress: Progress) -> Description:
    from cogvae_cli.io.video_reader import probe

    info = probe(path, _ANY)
    colour = info.colour
    facts: dict[str, Any] = {
        "file": str(path),
        "bytes": info.bytes,
        "container": info.container,
        "codec": info.codec,
        "pixel_format": info.pix_fmt,
        "width": info.width,
        "height": info.height,
        "stored_size": size_text(*info.stored),
        "pixel_aspect": f"{info.pixel_aspect.numerator}:{info.pixel_aspect.denominator}",
        "rate": None if info.rate is None else rate_text(info.rate),
        "declared_frames": info.declared_frames,
        "seconds": None if info.duration is None else round(float(info.duration), 6),
        "colour": {
            "matrix": colour.matrix,
            "range": colour.range,
            "primaries": colour.primaries,
            "transfer": colour.transfer,
            "assumed": colour.assumed,
        },
    }
    return Description("video", facts | (_counted(path, info, progress) if count else {}))


def _counted(path: Path, info: VideoInfo, progress: Progress) -> dict[str, Any]:
    """What only decoding every frame tells, and the latents that the clip would become."""
    from cogvae_cli.io.video_reader import VideoReader

    progress.phase("counting the frames")
    progress.begin(info.declared_frames)
    try:
        with VideoReader(path, _ANY) as reader:
            for _ in reader.frames():
                progress.advance(1)
            timing, notices = reader.timing, reader.notices
    finally:
        progress.end()
    height, width = ((side + padding(side)) // SPACE for side in (info.height, info.width))
    return {
        "frames": timing.frames,
        "rate": rate_text(timing.rate),
        "variable_rate": timing.variable,
        "latents": {"frames": latents_of(padded(timing.frames)), "height": height, "width": width},
        "notices": list(notices),
    }


def _latents(path: Path) -> Description:
    from cogvae_cli.io.latents import open_latents

    with open_latents(path) as reader:  # checks the hashes too: a file that is told to be whole is whole
        header, shape, digest = reader.header, reader.shape, reader.sha256
    frames = header.frames
    return Description(
        "latents",
        {
            "file": str(path),
            "bytes": path.stat().st_size,
            "shape": list(shape),
            "dtype": header.dtype,
            "posterior": header.posterior,
            "seed": header.seed,
            "scaled": header.scaled,
            "scaling_factor": header.scaling_factor,
            "sha256": digest,
            "video": {
                "frames": frames.count,
                "size": size_text(frames.width, frames.height),
                "rate": rate_text(header.timing.rate),
                "variable_rate": header.timing.variable,
            },
            "padding": {"frames": frames.padded_frames, "bottom": frames.padded_bottom, "right": frames.padded_right},
            "tiles": tile_facts(header.tiles),
            "frames_policy": frames.policy,
            "dropped_frames": frames.dropped_frames,
            "model": model_facts(header.model),
            "source": {"name": header.source.name, "bytes": header.source.size, "sha256": header.source.sha256},
            "settings": dict(header.settings),
            "versions": dict(header.versions),
        },
    )


def _model(name: str, revision: str | None, progress: Progress) -> Description:
    from cogvae_cli.io import hub, weights
    from cogvae_cli.pipeline.model_files import transfer_to

    progress.phase(f"reading model {name}")
    files = hub.find_model(name, revision=revision, transfer=transfer_to(progress))
    config = weights.read_config(files)
    tensors = weights.read_tensors(files)
    source = weights.source_of(files, tensors)
    return Description(
        "model",
        model_facts(source)
        | {
            "parameters": sum(tensor.size for tensor in tensors.values()),
            "bytes": sum(path.stat().st_size for path in files.weights),
            "scaling_factor": config.scaling_factor,
            "config": config.to_diffusers(),
        },
    )


def _rows(facts: Mapping[str, Any], before: str) -> list[tuple[str, str]]:
    rows = []
    for name, value in facts.items():
        label = f"{before}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            rows.extend(_rows(value, f"{label} "))
        elif value not in (None, []):
            rows.append((label, _text(value)))
    return rows


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
