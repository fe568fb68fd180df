"""What a clip will take, before it is run: chunks, tiles, latents, memory, work and time. Nothing is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cogvae_cli.errors import DeviceMemoryError, UsageError
from cogvae_cli.model.chunks import (
    LENGTHS,
    decode_plan,
    encode_plan,
    latents_of,
    padded,
)
from cogvae_cli.model.config import DEFAULT_MODEL, PRESETS, SPACE, VAEConfig
from cogvae_cli.pipeline.frames import padded_size
from cogvae_cli.pipeline.options import Dtype, TileOptions
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.results import SCHEMA_VERSION, size_text

if TYPE_CHECKING:
    from cogvae_cli.model.chunks import Part
    from cogvae_cli.model.form import Form
    from cogvae_cli.model.memory import Need
    from cogvae_cli.model.programs import Figures
    from cogvae_cli.pipeline.tile_choice import Budget
    from cogvae_cli.pipeline.topology import Chip

Direction = Literal["encode", "decode"]

DIRECTIONS: tuple[Direction, ...] = ("encode", "decode")

PARTS: Mapping[Direction, Part] = {"encode": "encoder", "decode": "decoder"}


@dataclass(frozen=True)
class PlanOptions:
    """What is planned for."""

    model: str = DEFAULT_MODEL
    dtype: Dtype | None = None
    tiles: TileOptions = field(default_factory=TileOptions)
    topology: str | None = None
    """A TPU such as `v5e:2x2`, for which the programs are compiled too."""
    device: str | None = None
    """A TPU by name, say `v5e`, planned for without compiling. None of both: this machine."""
    utilisation: float = 0.4
    """Share of the chip's peak that the time is reckoned with."""


@dataclass(frozen=True)
class DirectionPlan:
    """One direction of a clip."""

    direction: Direction
    dtype: str
    chunks: tuple[int, ...]
    """Frames, or latent frames, of each chunk."""
    tiles: tuple[int, int, int, int] | None
    """Columns and rows of tiles, width and height of one in pixels."""
    need: Need
    tflop: float
    """Work of the whole clip: products and additions of its convolutions, 10^12."""
    seconds: float | None
    """At the utilisation that was stated; None where the device's peak isn't known."""
    compiled: tuple[Figures, ...] = ()
    """What the compiler says of the first chunk's program and of the later ones'."""

    @property
    def memory(self) -> int:
        """Bytes at the worst moment, estimated."""
        return self.need.total


@dataclass(frozen=True)
class ClipPlan:
    """A clip of one size in both directions."""

    width: int
    height: int
    frames: int
    padded_frames: int
    latents_shape: tuple[int, int, int, int]
    model: str
    device: str
    device_memory: int
    utilisation: float
    directions: tuple[DirectionPlan, ...]

    @property
    def latents_bytes(self) -> int:
        """Of the stored array, in float32."""
        time, height, width, channels = self.latents_shape
        return time * height * width * channels * 4

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        facts = dataclasses.asdict(self)
        for plan, told in zip(self.directions, facts["directions"], strict=True):
            told["memory"] = plan.memory
            for figures, each in zip(plan.compiled, told["compiled"], strict=True):
                each["total"] = figures.total
        return {"schema_version": SCHEMA_VERSION, **facts, "latents_bytes": self.latents_bytes}


def plan_clip(
    source: str | Path | None = None,
    *,
    size: tuple[int, int] | None = None,
    frames: int = 49,
    options: PlanOptions | None = None,
    progress: Progress | None = None,
) -> ClipPlan:
    """Plans a video, or a clip of that (width, height) and number of frames.

    Raises UsageError for options that don't agree, VideoError, ModelError, and DeviceMemoryError where nothing fits.
    """
    options, progress = options or PlanOptions(), progress or Progress()
    if (source is None) == (size is None):
        raise UsageError("a plan is for a video or for a size", "name a video, or give --size WIDTHxHEIGHT")
    if options.device is not None and options.topology is not None:
        raise UsageError(f"{options.device} and {options.topology} are two devices", "leave one of them out")
    if not 0 < options.utilisation <= 1:
        raise UsageError(f"a utilisation of {options.utilisation} is none", "it is a share of the peak, up to 1")
    if source is not None:
        width, height, frames = _facts_of(Path(source), progress)
    elif size is not None:
        width, height = size
    planner = _Planner(options, padded_size(height, width), padded(frames))
    plans = []
    for direction in DIRECTIONS:
        progress.phase(f"planning to {direction}")
        plans.append(planner.plan(direction))
    budget, name = planner.budget, planner.device
    padding = padded(frames) - frames
    shape, share = planner.latents_shape, options.utilisation
    return ClipPlan(width, height, frames, padding, shape, options.model, name, budget.bytes, share, tuple(plans))


class _Planner:
    """A clip of one padded size (height, width) and number of frames, on one device."""

    def __init__(self, options: PlanOptions, clip: tuple[int, int], frames: int) -> None:
        self._options = options
        self._clip = clip
        self._frames = frames
        self._config = _config(options.model)
        self.budget, self._chip, self.device = _device(options)

    @property
    def latents_shape(self) -> tuple[int, int, int, int]:
        height, width = self._clip
        return latents_of(self._frames), height // SPACE, width // SPACE, self._config.latent_channels

    def plan(self, direction: Direction) -> DirectionPlan:
        from cogvae_cli.pipeline.tile_choice import TileChoice

        part, options, clip = PARTS[direction], self._options, self._clip
        form = _form(self._config, options, self.budget.platform)
        choice = TileChoice(form, clip, {part: LENGTHS[part]}, self.budget)
        found = choice.next() if options.tiles.tile == "auto" else form.tiled(options.tiles.tiling())
        if found is None:
            size = size_text(clip[1], clip[0])
            raise DeviceMemoryError(f"no tiles of {size} fit into {self.budget.bytes / 1e9:.1f} GB")
        chunks = encode_plan(self._frames) if part == "encoder" else decode_plan(latents_of(self._frames))
        tflop, dtype = _tflop(found, part, clip, chunks), found.network(part).numerics.dtype
        return DirectionPlan(
            direction,
            dtype,
            chunks,
            _tiles(found, clip),
            choice.estimate(found)[part],
            tflop,
            self._seconds(tflop, dtype),
            self._compiled(found, direction),
        )

    def _seconds(self, tflop: float, dtype: str) -> float | None:
        from cogvae_cli.pipeline.topology import FLOAT32_PASSES

        if self._chip is None:
            return None
        peak = self._chip.tflops / (FLOAT32_PASSES if dtype == "float32" else 1)
        return tflop / peak / self._options.utilisation

    def _compiled(self, form: Form, direction: Direction) -> tuple[Figures, ...]:
        from cogvae_cli.pipeline.topology import one_chip

        if self._options.topology is None:
            return ()
        place = one_chip(self._options.topology)
        programs = form.programs(PARTS[direction], self._clip, LENGTHS[PARTS[direction]])
        return tuple(program.compile(place)[1] for program in programs[:2])


def _tflop(form: Form, part: Part, clip: tuple[int, int], chunks: Sequence[int]) -> float:
    """Of all chunks and tiles."""
    from cogvae_cli.model.work import convolution_flops

    grid = form.grid(*clip)
    sizes = [clip] if grid is None else [(r.length * SPACE, c.length * SPACE) for r in grid.rows for c in grid.columns]
    config = form.network(part).config
    total = 0.0
    for length in set(chunks):
        shape = (length, SPACE, SPACE, 3) if part == "encoder" else (length, 1, 1, config.latent_channels)
        by_block = convolution_flops(config, part, (1, *shape))  # of 8x8 pixels: work grows with the area
        total += chunks.count(length) * sum(by_block * height * width / SPACE**2 for height, width in sizes)
    return total / 1e12


def _tiles(form: Form, clip: tuple[int, int]) -> tuple[int, int, int, int] | None:
    grid, tiling = form.grid(*clip), form.tiling
    if grid is None or tiling is None:
        return None
    return len(grid.columns), len(grid.rows), tiling.width, tiling.height


def _facts_of(source: Path, progress: Progress) -> tuple[int, int, int]:
    """Width, height and number of frames of a video; frames are counted where the file doesn't say."""
    from cogvae_cli.io.video_reader import VideoReader
    from cogvae_cli.pipeline.reading import timing_of
    from cogvae_cli.pipeline.video_options import ReadOptions

    reading = ReadOptions(hdr="tonemap")
    with VideoReader(source, reading) as reader:
        expected = reader.expected_frames
        width, height = reader.info.width, reader.info.height
    return width, height, expected or timing_of(source, progress, reading).frames


def _config(model: str) -> VAEConfig:
    """The architecture alone: that of a public model needs no download."""
    if model in PRESETS:
        return VAEConfig()
    from cogvae_cli.io import hub, weights

    return weights.read_config(hub.find_model(model))


def _device(options: PlanOptions) -> tuple[Budget, Chip | None, str]:
    from cogvae_cli.pipeline.device import device_name
    from cogvae_cli.pipeline.tile_choice import Budget, budget
    from cogvae_cli.pipeline.topology import chip_of

    named = options.topology or options.device
    if named is None:
        return budget(), None, device_name()
    chip = chip_of(named)
    return Budget(chip.memory, "tpu"), chip, named


def _form(config: VAEConfig, options: PlanOptions, platform: str) -> Form:
    from cogvae_cli.model.form import Form
    from cogvae_cli.model.numerics import Numerics

    encode = Numerics(options.dtype or "float32")
    decode = Numerics(options.dtype or ("float32" if platform == "cpu" else "bfloat16"))
    return Form.of(config, encode, decode, in_strips=platform == "tpu")
