"""Ours against diffusers' AutoencoderKLCogVideoX: the same weights, the same video, every layer of every chunk.

The reference runs through its own public methods; whenever it takes up a chunk, ours takes the same one, and each
layer is compared as soon as the reference has computed it. End to end, our public methods are compared with theirs.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cogvae_cli.errors import UsageError
from cogvae_cli.model.chunks import decode_plan, encode_plan, latents_of
from cogvae_cli.model.config import DEFAULT_MODEL, SPACE
from cogvae_cli.pipeline.device import device_name, named_memory_errors
from cogvae_cli.pipeline.models import obtain
from cogvae_cli.pipeline.options import RunOptions
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.results import size_text, tiles_of
from cogvae_cli.pipeline.roundtrip import BUILT_IN_CLIP
from cogvae_cli.pipeline.verify_reference import Reference, Watch, import_reference, versions
from cogvae_cli.pipeline.verify_result import (
    Comparison,
    VerifyResult,
    compare_end,
    compare_layer,
    judged,
    rounding_alone,
)

if TYPE_CHECKING:
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.chunks import Part
    from cogvae_cli.model.trace import Layers
    from cogvae_cli.model.vae import Caches

FRAMES = 17
"""Two chunks, so that the caches between them are compared too."""

WIDTH, HEIGHT = 64, 48
"""Not square, so that height can't be taken for width."""

TOLERANCE = 1e-5

_NOTES = {
    "norm_layer": "folded: ours applies its affine at the latents' size",
    "conv_y": "ours at the latents' size, repeated for comparing",
    "conv_b": "ours at the latents' size, repeated for comparing",
}
"""What ours computes in another way than the reference, by the last part of a layer's path."""


Rows = tuple[Comparison, ...]


@dataclass(frozen=True)
class VerifyOptions(RunOptions):
    """What is compared, and how close it must be.

    Ours computes in float32 unless `dtype` says otherwise, the reference in float32 always. Tiles are the reference's.
    """

    frames: int = FRAMES
    width: int = WIDTH
    height: int = HEIGHT
    tolerance: float = TOLERANCE
    """Of the relative error of every layer, and end to end."""


def verify_model(
    model: str | VAE | None = None, *, options: VerifyOptions | None = None, progress: Progress | None = None
) -> VerifyResult:
    """Compares a model with diffusers' on frames of the built-in clip. `result.check()` raises if they differ.

    The decoder takes the mean of the reference's posterior, so that its errors are its own. Where the two differ by a
    little more than the tolerance, the reference computes once more in float64, to tell our error from its rounding.
    Memory holds every layer's output of one chunk. Raises CogvaeError without torch and diffusers, UsageError for sizes
    that are no multiples of 8, and what `load` raises.
    """
    options, progress = options or VerifyOptions(), progress or Progress()
    _check(options)
    import_reference()
    if options.dtype is None and (model is None or isinstance(model, str)):
        options = replace(options, dtype="float32")
    vae = obtain(model or DEFAULT_MODEL, options, progress)
    if vae.form.tiling is not None and vae.form.tiling.layout != "reference":
        raise UsageError("diffusers knows no uniform tiles", "verify compares reference tiles only")
    start = time.perf_counter()
    with named_memory_errors(size_text(options.width, options.height)):
        layers, ends = _judge(vae, clip_frames(options.frames, options.width, options.height), options, progress)
    return VerifyResult(
        model=vae.source,
        width=options.width,
        height=options.height,
        frames=options.frames,
        tiles=tiles_of(vae, options.height, options.width),
        encode_dtype=vae.encode_dtype,
        decode_dtype=vae.decode_dtype,
        device=device_name(),
        tolerance=options.tolerance,
        layers=layers,
        ends=ends,
        versions=_versions(),
        seconds=time.perf_counter() - start,
    )


def _check(options: VerifyOptions) -> None:
    if options.frames < 1:
        raise UsageError(f"{options.frames} frames can't be compared", "--frames 17 makes two chunks")
    for side in (options.width, options.height):
        if side < SPACE or side % SPACE:
            raise UsageError(
                f"{size_text(options.width, options.height)} can't be compared",
                f"both sides must be multiples of {SPACE}, say --size {WIDTH}x{HEIGHT}",
            )


def clip_frames(count: int, width: int, height: int) -> np.ndarray:
    """The first frames of the built-in clip as uint8 [T H W 3], scaled to cover the size, the middle cut out.

    More frames than the clip holds: it runs backwards and forwards again.
    """
    import importlib.resources as resources
    import itertools

    from cogvae_cli.io.video_reader import VideoReader

    with (
        resources.as_file(resources.files("cogvae_cli") / "assets" / "clips" / BUILT_IN_CLIP) as path,
        VideoReader(path) as reader,
    ):
        frames = [_cover(frame, width, height) for frame in itertools.islice(reader.frames(), count)]
    there_and_back = [*frames, *frames[-2:0:-1]]
    return np.stack([there_and_back[index % len(there_and_back)] for index in range(count)])


def _cover(frame: np.ndarray, width: int, height: int) -> np.ndarray:
    """[H W 3] uint8 of any size to [height width 3]: the whole of the shorter side, the middle of the other."""
    import jax

    scale = max(height / frame.shape[0], width / frame.shape[1])
    big = (max(height, round(frame.shape[0] * scale)), max(width, round(frame.shape[1] * scale)), 3)
    scaled = np.asarray(jax.image.resize(frame.astype(np.float32), big, "linear"))
    top, left = (big[0] - height) // 2, (big[1] - width) // 2
    cut = scaled[top : top + height, left : left + width]
    return np.clip(np.round(cut), 0, 255).astype(np.uint8)


def _judge(vae: VAE, pixels: np.ndarray, options: VerifyOptions, progress: Progress) -> tuple[Rows, Rows]:
    """Layers and ends, held against float32, and against float64 where the reference's rounding may be at fault."""
    layers, ends = _compare(vae, pixels, "float32", progress)
    is_float32 = vae.encode_dtype == vae.decode_dtype == "float32"
    if is_float32 and rounding_alone((*layers, *ends), options.tolerance):
        progress.notice("a little over the tolerance: the reference's own rounding is told apart with float64")
        exact_layers, exact_ends = _compare(vae, pixels, "float64", progress)
        layers = judged(layers, exact_layers, options.tolerance)
        ends = judged(ends, exact_ends, options.tolerance)
    return layers, ends


def _compare(vae: VAE, pixels: np.ndarray, dtype: str, progress: Progress) -> tuple[Rows, Rows]:
    """Layers and ends. Our public methods run in a thread beside it, for compiling is half of the time and one core."""
    frames = (pixels[None].astype(np.float32) / np.float32(127.5)) - np.float32(1)
    progress.phase("comparing layer by layer")
    grid = vae.grid(*pixels.shape[1:3])
    tiles = 1 if grid is None else len(grid.rows) * len(grid.columns)
    lengths: dict[Part, int] = {
        "encoder": len(encode_plan(len(pixels))),
        "decoder": len(decode_plan(latents_of(len(pixels)))),
    }
    progress.begin(tiles * sum(lengths.values()), "chunks")
    try:
        reference = Reference(vae.config, vae.tensors, dtype, vae.form.tiling)
        encoder, decoder = (_Layers(vae, part, length, progress) for part, length in lengths.items())
        with ThreadPoolExecutor(max_workers=1) as beside:
            encoded = beside.submit(vae.encode, frames)
            mean, logvar = reference.encode(frames, encoder.watch())
            latents = mean.astype(np.float32)
            decoded = beside.submit(vae.decode, latents)
            values = reference.decode(latents, decoder.watch())
        encoder.check_whole()
        decoder.check_whole()
    finally:
        progress.end()
    posterior = encoded.result()
    ends = (
        compare_end("mean", np.asarray(posterior.mean), mean),
        compare_end("logvar", np.asarray(posterior.logvar), logvar),
        compare_end("frames", np.asarray(decoded.result()), values),
    )
    return (*encoder.rows, *decoder.rows), ends


class _Layers:
    """Our network in step with the reference's: the outputs of the current chunk that are still to be compared.

    Tiles come one after the other, each with all of its chunks: that is the reference's order.
    """

    def __init__(self, vae: VAE, part: Part, chunks: int, progress: Progress) -> None:
        self._tiled = vae.form.tiling is not None
        self._chunks = chunks
        self._network, self._params = vae.network(part)
        self._progress = progress
        self._caches: Caches = None
        self._started = 0
        self._waiting: Layers = {}
        self.rows: list[Comparison] = []

    def watch(self) -> Watch:
        from cogvae_cli.model.trace import layer_names

        return Watch(self._network.part, layer_names(self._network), self._start, self._layer)

    def check_whole(self) -> None:
        """Raises RuntimeError if the reference never came to one of our layers."""
        if self._waiting:
            raise RuntimeError(f"the reference computed no {', '.join(sorted(self._waiting))}")

    def _start(self, chunk: np.ndarray) -> None:
        from cogvae_cli.model.trace import trace_step

        self.check_whole()
        chunk = chunk.astype(np.float32)
        if self._started % self._chunks == 0:  # a tile of its own begins
            self._caches = None
        self._waiting, self._caches = trace_step(self._params, chunk, self._caches, network=self._network)
        self._started += 1
        self._progress.advance(1)

    def _layer(self, name: str, theirs: np.ndarray) -> None:
        ours = np.asarray(self._waiting.pop(name))
        if name.endswith((".conv_y", ".conv_b")):
            ours = _nearest(ours, theirs.shape)
        note = _NOTES.get(name.rpartition(".")[2])
        tile, chunk = divmod(self._started - 1, self._chunks)
        row = compare_layer(name, chunk, ours, theirs, note)
        self.rows.append(replace(row, tile=tile) if self._tiled else row)


def _nearest(z: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """[B t h w C] to [B T H W C] as torch picks neighbours, floor(i * in / out); frame 0 of an odd T > 1 is apart."""
    frames = shape[1]
    alone = int(frames > 1 and frames % 2)
    later = np.arange(frames - alone) * (z.shape[1] - alone) // (frames - alone) + alone
    rows, columns = (np.arange(shape[axis]) * z.shape[axis] // shape[axis] for axis in (2, 3))
    times = np.concatenate([np.arange(alone), later])
    return z[:, times][:, :, rows][:, :, :, columns]


def _versions() -> dict[str, Any]:
    import jax

    from cogvae_cli import __version__

    return {"cogvae": __version__, "jax": jax.__version__} | versions()
