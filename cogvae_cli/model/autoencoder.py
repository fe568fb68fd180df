"""The VAE as a user holds it: whole arrays, streams of chunks, or one chunk at a time.

Axes: B batch, T time, H height, W width; t h w are those of latents (4 and 8 times fewer), z their channels.
Frames are in [-1, 1] as floats, 0..255 as uint8; latents are unscaled.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, UInt8

from cogvae_cli.errors import InputError, NonFiniteError, UsageError
from cogvae_cli.model import chunks, programs, sharding, tiling, weights
from cogvae_cli.model.chunks import Part
from cogvae_cli.model.config import SPACE, ModelSource, VAEConfig
from cogvae_cli.model.form import Form
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.programs import Figures, Options, Program
from cogvae_cli.model.tiling import Grid, Tiling
from cogvae_cli.model.vae import (
    Caches,
    DecodedChunk,
    EncodedChunk,
    Network,
    clamp_logvar,
    to_pixels,
)

ArrayLike = jax.Array | np.ndarray


@dataclasses.dataclass(frozen=True)
class Posterior:
    """The distribution of the latents: a diagonal Gaussian, clamped log-variance. Its mode is the mean."""

    mean: Float[Array, "B t h w z"]
    logvar: Float[Array, "B t h w z"]


class VAE:
    """A CogVideoX VAE with its weights.

    Encodes frames [B T H W 3] into a posterior over latents [B t h w z] and decodes latents into frames.
    Any T goes in; it is cut into chunks as upstream cuts it, so only 1, 8k and 8k+1 frames come back as many.
    The scaling factor is never applied here: multiply latents for a diffusion model, divide before decoding.
    Weights go to the device when a direction is first used.
    `tiled` gives one that computes big frames in tiles; a clip keeps one plan.
    Reference: diffusers AutoencoderKLCogVideoX.
    """

    def __init__(
        self,
        config: VAEConfig,
        tensors: weights.Tensors,
        source: ModelSource,
        *,
        encode: Numerics,
        decode: Numerics,
    ) -> None:
        weights.check(config, tensors)
        self.config = config
        self.source = source
        self.form = Form.of(config, encode, decode)
        self._tensors = tensors
        self._params: dict[tuple[Part, Mesh | None], nnx.State[Any, Any]] = {}

    @property
    def scaling_factor(self) -> float:
        """Latents times this have about unit deviation."""
        return self.config.scaling_factor

    @property
    def encode_dtype(self) -> str:
        return self.form.encoder.numerics.dtype

    @property
    def decode_dtype(self) -> str:
        return self.form.decoder.numerics.dtype

    @property
    def tensors(self) -> weights.Tensors:
        """The weights as they were read, in torch's names and layout."""
        return self._tensors

    def network(self, part: Part) -> tuple[Network, nnx.State[Any, Any]]:
        """A direction's network, for whole frames, and its parameters on the device."""
        return self.form.network(part), self._place(part, None)

    def in_strips(self) -> VAE:
        """The same model, which computes in the form that is fastest on TPUs (see `strips`)."""
        return self._formed(dataclasses.replace(self.form, in_strips=True))

    def on(self, devices: Sequence[Any]) -> VAE:
        """The same model, whose clips, or else frames, are shared by as many of those devices as divide them."""
        return self._formed(dataclasses.replace(self.form, devices=tuple(devices) if len(devices) > 1 else ()))

    def batched(self, clips: int) -> VAE:
        """The same model, prepared for that many clips at a time; any number can be encoded all the same."""
        return self._formed(dataclasses.replace(self.form, batch=clips))

    def tiled(self, tiling: Tiling | None) -> VAE:
        """The same model, which computes big frames in those tiles. Weights are shared, on the device too."""
        return self._formed(self.form.tiled(tiling))

    def _formed(self, form: Form) -> VAE:
        other = copy.copy(self)
        other.form = form
        return other

    def encode(self, frames: Float[ArrayLike, "B T H W 3"]) -> Posterior:
        """Frames in [-1, 1] to the posterior of their latents.

        Raises InputError for another shape or dtype or sides that are no multiple of 8, NonFiniteError for NaN or Inf.
        """
        frames = _floats(frames, "frames", "B T H W 3")
        parts = list(self._encode_chunks(_cut(frames, chunks.encode_plan(frames.shape[1]))))
        return Posterior(
            jnp.concatenate([part.mean for part in parts], axis=1),
            jnp.concatenate([part.logvar for part in parts], axis=1),
        )

    def decode(self, latents: Float[ArrayLike, "B t h w z"]) -> Float[Array, "B T H W 3"]:
        """Unscaled latents to frames, in [-1, 1] but for overshoot, which is not clamped.

        T = 4(t-1)+1 for odd t, 4t for even t. Raises InputError for another shape, NonFiniteError for NaN or Inf.
        """
        latents = _floats(latents, "latents", "B t h w z")
        self._check_latents(latents.shape)
        plan = chunks.decode_plan(latents.shape[1])
        return jnp.concatenate([part.frames for part in self._decode_chunks(_cut(latents, plan))], axis=1)

    def encode_stream(self, frames: Iterable[Float[ArrayLike, "B _ H W 3"]]) -> Iterator[Posterior]:
        """Encodes a stream of any length in constant memory.

        Takes pieces of any number of frames and regroups them into 9, 8, 8, ...; yields a posterior of 3, 2, 2, ...
        latent frames for each. The frames must add up to 1 or 8k+1: a partial tail raises InputError, after all whole
        chunks were yielded. A single frame is encoded alone.
        """
        pieces = (_floats(piece, "frames", "B T H W 3") for piece in frames)
        regrouped = regroup(pieces, chunks.FIRST_FRAMES, chunks.FRAMES, "frames")
        for part in self._encode_chunks(regrouped):
            yield Posterior(part.mean, part.logvar)

    def decode_stream(
        self, latents: Iterable[Float[ArrayLike, "B _ h w z"]], *, length: int | None = None
    ) -> Iterator[Float[Array, "B T H W 3"]]:
        """Decodes a stream of latents in constant memory.

        Takes pieces of any number of latent frames and regroups them into 3, 2, 2, ..., the plan of an odd number;
        for an even number give `length`, for its plan is 2, 2, ... A partial tail raises InputError.
        """
        even = length is not None and length % 2 == 0
        pieces = (_floats(piece, "latents", "B t h w z") for piece in latents)
        first = chunks.LATENTS if even else chunks.FIRST_LATENTS
        for part in self._decode_chunks(regroup(pieces, first, chunks.LATENTS, "latents")):
            yield part.frames

    def encode_chunk(
        self, frames: Float[ArrayLike, "B T H W 3"] | UInt8[ArrayLike, "B T H W 3"], caches: Caches
    ) -> tuple[EncodedChunk, Caches]:
        """Starts encoding one chunk and returns at once; results are on the device. `caches` is consumed.

        `caches` is None at the start of a clip. Chunks hold 9 frames at first and 8 later, sides multiples of 8.
        """
        self._check_frames(frames.shape)
        grid = self.grid(*frames.shape[2:4])

        def step(frames: ArrayLike, caches: Caches) -> tuple[EncodedChunk, Caches]:
            done: tuple[EncodedChunk, Caches] = self._run("encoder", frames, caches, raw=grid is not None)
            return done

        if grid is None:
            return step(frames, caches)
        tiles, caches = tiling.run(step, frames, caches, grid, SPACE)
        mean, logvar = (
            tiling.assemble([[getattr(tile, name) for tile in row] for row in tiles], grid=grid, scale=1)
            for name in ("mean", "logvar")
        )
        return EncodedChunk(mean, clamp_logvar(logvar), _all_finite(tiles)), caches

    def decode_chunk(
        self, latents: Float[ArrayLike, "B t h w z"], caches: Caches, *, pixels: bool = True
    ) -> tuple[DecodedChunk, Caches]:
        """Starts decoding one chunk to uint8 pixels, or to floats; as `encode_chunk` otherwise. 3 latents, then 2."""
        self._check_latents(latents.shape)
        height, width = (side * SPACE for side in latents.shape[2:4])
        grid = self.grid(height, width)

        def step(latents: ArrayLike, caches: Caches) -> tuple[DecodedChunk, Caches]:
            raw = grid is not None or not pixels
            done: tuple[DecodedChunk, Caches] = self._run("decoder", latents, caches, raw=raw)
            return done

        if grid is None:
            return step(latents, caches)
        tiles, caches = tiling.run(step, latents, caches, grid, 1)
        frames = tiling.assemble([[tile.frames for tile in row] for row in tiles], grid=grid, scale=SPACE)
        return DecodedChunk(to_pixels(frames) if pixels else frames, _all_finite(tiles)), caches

    def grid(self, height: int, width: int) -> Grid | None:
        """The tiles that frames of that size in pixels are computed in; None if they are computed whole."""
        return self.form.grid(height, width)

    def _encode_chunks(self, pieces: Iterable[Float[ArrayLike, "B _ H W 3"]]) -> Iterator[EncodedChunk]:
        return _one_ahead(self.encode_chunk, pieces, "latent frame")

    def _decode_chunks(self, pieces: Iterable[Float[ArrayLike, "B _ h w z"]]) -> Iterator[DecodedChunk]:
        return _one_ahead(functools.partial(self.decode_chunk, pixels=False), pieces, "frame")

    def prepare(
        self, lengths: Mapping[Part, Sequence[int]], size: tuple[int, int], options: Options | None = None
    ) -> dict[Part, list[Figures]]:
        """Compiles ahead, side by side, what a clip of that height and width needs; says what the compiler says.

        lengths: of each direction, the frames or latent frames of its first chunk and of later ones, if there are any.
        options: of XLA's compiler, beside a platform's.
        """
        wanted = {part: self.form.programs(part, size, each) for part, each in lengths.items()}
        programs.compile_ahead([program for found in wanted.values() for program in found], options)
        return {part: programs.compile_ahead(found) for part, found in wanted.items()}

    def _run(self, part: Part, chunk: ArrayLike, caches: Caches, *, raw: bool) -> Any:
        batch, length, height, width, _ = chunk.shape
        if part == "decoder":
            height, width = height * SPACE, width * SPACE
        network = self.form.network_for(part, height, width, batch)
        program = Program(network, length, caches is not None, height, width, batch, raw)
        chunk = sharding.place_chunk(chunk, network.mesh)
        return programs.run(program, self._place(part, network.mesh), chunk, caches)

    def _place(self, part: Part, mesh: Mesh | None) -> nnx.State[Any, Any]:
        if (part, mesh) not in self._params:
            params = weights.to_params(self.form.network(part), self._tensors)
            self._params[part, mesh] = sharding.place_weights(params, mesh)
        return self._params[part, mesh]

    def _check_frames(self, shape: tuple[int, ...]) -> None:
        height, width = shape[2:4]
        if height % SPACE or width % SPACE or not height or not width:
            raise InputError(
                f"frames of {width}x{height} can't be encoded: both sides must be multiples of {SPACE}",
                "pad or crop them, or use encode_file, which pads and records the true size",
            )

    def _check_latents(self, shape: tuple[int, ...]) -> None:
        if shape[-1] != self.config.latent_channels or 0 in shape:
            raise InputError(
                f"latents of shape {list(shape)} don't fit: [B t h w {self.config.latent_channels}] is needed",
                "axes are batch, time, height, width, channels; torch's [B C T H W] must be transposed",
            )


Out = TypeVar("Out", EncodedChunk, DecodedChunk)


def _one_ahead(
    step: Callable[[ArrayLike, Caches], tuple[Out, Caches]], pieces: Iterable[ArrayLike], what: str
) -> Iterator[Out]:
    """Runs the step over the pieces; the next one is under way while the last is checked and handed out."""
    caches, waiting, done = None, None, 0
    for piece in pieces:
        part, caches = step(piece, caches)
        if waiting is not None:
            yield _checked(waiting, done, what)
            done += waiting.finite.shape[1]
        waiting = part
    if waiting is not None:
        yield _checked(waiting, done, what)


def _checked(part: Out, before: int, what: str) -> Out:
    check_finite(part.finite, before, what)
    return part


def _all_finite(tiles: Sequence[Sequence[EncodedChunk | DecodedChunk]]) -> Bool[Array, "B T"]:
    """A frame is finite if it is so in every tile."""
    return functools.reduce(jnp.logical_and, [tile.finite for row in tiles for tile in row])


def check_finite(finite: Bool[ArrayLike, "B T"], before: int, what: str) -> None:
    """Raises NonFiniteError naming the first frame that isn't finite; `before` frames of the clip came earlier."""
    whole = np.asarray(finite).all(axis=0)
    if not whole.all():
        raise NonFiniteError(
            f"{what} {before + int(np.argmin(whole))} holds NaN or Inf",
            "compute in float32 (--dtype float32), and check that the input and the weights are finite",
        )


def regroup(pieces: Iterable[ArrayLike], first: int, rest: int, what: str) -> Iterator[ArrayLike]:
    """Cuts a stream of arrays [B T ...] into `first` and then `rest` frames a piece.

    Raises InputError at the end if frames are left over; a lone frame is a clip of its own (an image).
    """
    held: list[ArrayLike] = []
    size, done = first, 0
    for piece in pieces:
        held.append(piece)
        while (count := sum(part.shape[1] for part in held)) >= size:
            whole = _join(held)
            yield whole[:, :size]
            held = [whole[:, size:]] if count > size else []
            done, size = done + size, rest
    left = sum(part.shape[1] for part in held)
    if left == 1 and done == 0:
        yield _join(held)
    elif left:
        raise InputError(
            f"{done + left} {what} can't be cut into {first} and then {rest} at a time: {left} are left over",
            "pad the tail by repeating its last frame, or drop what is over",
        )
    elif not done:
        raise InputError(f"the stream held no {what}")


def _join(parts: list[ArrayLike]) -> ArrayLike:
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts, axis=1)
    return jnp.concatenate(parts, axis=1)


def _cut(array: ArrayLike, plan: tuple[int, ...]) -> Iterator[ArrayLike]:
    start = 0
    for length in plan:
        yield array[:, start : start + length]
        start += length


def _floats(array: ArrayLike, what: str, axes: str) -> ArrayLike:
    """The array as it is, once its rank and dtype are known to be right."""
    if not isinstance(array, jax.Array | np.ndarray):
        raise UsageError(f"{what} are {type(array).__name__}, not a numpy or jax array")
    if array.ndim != 5 or (axes.endswith("3") and array.shape[-1] != 3) or 0 in array.shape:
        raise InputError(f"{what} have shape {list(array.shape)}; [{axes}] is needed")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InputError(f"{what} are {array.dtype}; floats are needed", "pixels 0..255 become x / 127.5 - 1")
    return array.astype(np.float32) if array.dtype == np.float64 else array
