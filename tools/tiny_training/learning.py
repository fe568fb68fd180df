"""One step of learning: the product's networks in streams, the loss, the optimiser, the average of the weights.

Axes: B batch, T time, H height, W width; t h w z are those of latents.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, UInt8

from cogvae_cli.model import chunks, weights
from cogvae_cli.model.config import SPACE, VAEConfig
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.vae import Network, clamp_logvar, to_unit

Params = Mapping[str, Any]
"""The parameters of both networks, by name."""

Stacks = Mapping[str, jax.Array]
"""The same, those of one shape in one array."""

SQUARES, GRADIENTS, DRIFT, KL = 6.0, 0.25, 0.5, 1e-5
"""Weights of the mean squared error, of the errors of differences in space and time, of the shift of each channel's
mean, frame by frame, and of the KL, beside L1's 1."""

FIRST_FRAME = 0.08
"""Weight of a clip's first frame beside 1 of the others: it has a latent of its own where they share one among four,
and would come out better than what follows, which shows as a fall in sharpness."""

EVEN, NOISE = 0.015, 3e-4
"""Weight of the decibels by which the detail of a clip's first frame comes out better than that of the others; and a
squared error that is none."""

FIRST_LOGVAR = -6.0
"""Log-variance that an untrained encoder says: noise of unit scale would drown what the latents hold."""

QUIET = 0.3
"""Gain of the kernels that an untrained network should hear little of."""

_QUIET = ("conv_y.conv.weight", "conv_b.conv.weight", "conv2.conv.weight")
_ONES = ("norm1.weight", "norm2.weight", "norm_out.weight", "norm_layer.weight", "conv_y.conv.bias")

PIXEL = 3
"""Channels of a pixel."""

BETWEEN = 0.9995
"""Decay of the average of the weights, once the run is long enough for it."""


@dataclasses.dataclass(frozen=True)
class Nets:
    """Encoder and decoder of a config, in float32."""

    config: VAEConfig

    @functools.cached_property
    def parts(self) -> dict[str, Network]:
        return {part: Network(self.config, part, Numerics()) for part in weights.PARTS}

    def fresh(self, seed: int) -> Params:
        """Random parameters, from which learning finds its way soonest.

        Kernels keep the scale of what goes in. A conditioned norm starts as a plain one with a little of the latents,
        a resnet near its shortcut.
        """
        rng = np.random.default_rng(seed)
        return {part: _random(network.shapes(), rng) for part, network in self.parts.items()}

    def read(self, tensors: weights.Tensors) -> Params:
        """Those of a file in diffusers' form. Raises ModelError where they don't fit."""
        weights.check(self.config, tensors)
        params = {part: weights.to_params(network, tensors) for part, network in self.parts.items()}
        return jax.tree.map(jnp.asarray, params)

    @functools.cached_property
    def _shapes(self) -> Params:
        return {part: network.shapes() for part, network in self.parts.items()}

    @functools.cached_property
    def _places(self) -> dict[str, list[int]]:
        """The places of the leaves of each shape, under a name for it."""
        places: dict[str, list[int]] = {}
        for place, leaf in enumerate(jax.tree.leaves(self._shapes)):
            places.setdefault("x".join(map(str, leaf.shape)), []).append(place)
        return places

    @functools.cached_property
    def stacked(self) -> Callable[[Params], Stacks]:
        """Parameters of one shape as one array, [N ...]: programs of few arrays compile and run sooner.

        A program of its own, like the reverse: within others, XLA would pick each number from its array by itself.
        """

        def stack(params: Params) -> Stacks:
            leaves = jax.tree.leaves(params)
            return {name: jnp.stack([leaves[place] for place in places]) for name, places in self._places.items()}

        return jax.jit(stack)

    @functools.cached_property
    def unstacked(self) -> Callable[[Stacks], Params]:
        """The reverse."""

        def unstack(stacks: Stacks) -> Params:
            leaves: dict[int, jax.Array] = {}
            for name, places in self._places.items():
                leaves |= dict(zip(places, stacks[name], strict=True))
            ordered = [leaves[place] for place in range(len(leaves))]
            params: Params = jax.tree.unflatten(jax.tree.structure(self._shapes), ordered)
            return params

        return jax.jit(unstack)

    def encode(
        self, params: Params, frames: Float[Array, "B T H W 3"]
    ) -> tuple[Float[Array, "B t h w z"], Float[Array, "B t h w z"]]:
        """Means and clamped log-variances, chunk by chunk with caches as the product streams them."""
        moments = self._stream("encoder", params, frames, chunks.encode_plan(frames.shape[1]))
        mean, logvar = jnp.split(moments, 2, axis=-1)
        return mean, clamp_logvar(logvar)

    def decode(self, params: Params, latents: Float[Array, "B t h w z"]) -> Float[Array, "B T H W 3"]:
        """Frames, not clamped."""
        return self._stream("decoder", params, latents, chunks.decode_plan(latents.shape[1]))

    def _stream(self, part: str, params: Params, x: jax.Array, plan: tuple[int, ...]) -> jax.Array:
        network: Any = nnx.merge(self.parts[part].structure(), params[part])
        out, caches, start = [], None, 0
        for length in plan:
            y, caches = network(x[:, start : start + length], caches)
            out.append(y)
            start += length
        return jnp.concatenate(out, axis=1)


def _random(shapes: nnx.State[Any, Any], rng: np.random.Generator) -> nnx.State[Any, Any]:
    leaves = []
    for path, leaf in nnx.to_flat_state(shapes):
        name, shape = ".".join(map(str, path)), leaf.shape
        if len(shape) > 1:
            gain = QUIET if name.endswith(_QUIET) else 1.0
            value = rng.standard_normal(shape, np.float32) * np.float32(gain / math.sqrt(math.prod(shape[:-1])))
        else:
            value = np.full(shape, name.endswith(_ONES), np.float32)
        if name == "conv_out.conv.bias" and shape[0] > PIXEL:
            value[shape[0] // 2 :] = FIRST_LOGVAR
        leaves.append((path, leaf.replace(jnp.asarray(value))))
    return nnx.from_flat_state(leaves)


def frame_weights(count: int) -> Float[np.ndarray, "T 1 1 1"]:
    """What each frame of a sample counts for, 1 on average."""
    counts = np.ones((count, 1, 1, 1), np.float32)
    if count > 1:
        counts[0] = FIRST_FRAME
    return counts / counts.mean()


def _slopes(error: Float[Array, "B T H W 3"], counts: Float[np.ndarray, "T 1 1 1"]) -> jax.Array:
    """Sum of the mean differences in time and space. A difference of errors is the error of the difference."""
    in_space = sum(jnp.mean(counts * jnp.abs(jnp.diff(error, axis=axis))) for axis in (2, 3))
    return in_space + (jnp.mean(jnp.abs(jnp.diff(error, axis=1))) if error.shape[1] > 1 else jnp.zeros(()))


def windows(
    latents: Float[Array, "B t h w z"], frames: Float[Array, "B T H W 3"], side: int, key: jax.Array
) -> tuple[Float[Array, "B t side side z"], Float[Array, "B T S S 3"]]:
    """The same square of both, `side` latents wide, anywhere."""
    rooms = jnp.array([latents.shape[2] - side + 1, latents.shape[3] - side + 1])
    top, left = jax.random.randint(key, (2,), 0, rooms)

    def cut(x: jax.Array, scale: int) -> jax.Array:
        sizes = (*x.shape[:2], side * scale, side * scale, x.shape[4])
        return jax.lax.dynamic_slice(x, (0, 0, top * scale, left * scale, 0), sizes)

    return cut(latents, 1), cut(frames, SPACE)


def unevenness(error: Float[Array, "B T H W 3"]) -> Float[Array, ""]:
    """By how many decibels the first frame's detail is better than that of those after it.

    Detail is what is left without the means of blocks of 8x8: no colour is to pay for evenness.
    """
    if error.shape[1] == 1:
        return jnp.zeros(())
    batch, frames, height, width, channels = error.shape
    blocks = error.reshape(batch, frames, height // SPACE, SPACE, width // SPACE, SPACE, channels)
    squares = jnp.square(blocks - jnp.mean(blocks, axis=(3, 5), keepdims=True))
    first, rest = jnp.mean(squares[:, 0]), jnp.mean(squares[:, 1:])
    return jax.nn.relu(10 * jnp.log10((rest + NOISE) / (first + NOISE)))


def loss_of(
    nets: Nets, window: int, params: Params, pixels: UInt8[Array, "B T H W 3"], key: jax.Array
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The loss of a sample, and its parts. The decoder sees a draw from the posterior, or a window of one."""
    frames = to_unit(pixels)
    mean, logvar = nets.encode(params, frames)
    deviation = jnp.exp(0.5 * logvar)
    latents = mean + deviation * jax.random.normal(key, mean.shape)
    if window:
        latents, frames = windows(latents, frames, window, jax.random.fold_in(key, 1))
    error = nets.decode(params, latents) - frames
    counts = frame_weights(error.shape[1])
    squares = jnp.mean(counts * jnp.square(error))
    drift = jnp.mean(jnp.abs(jnp.mean(error, axis=(2, 3))))
    kl = 0.5 * jnp.mean(jnp.square(mean) + jnp.square(deviation) - 1.0 - logvar)
    total = jnp.mean(counts * jnp.abs(error)) + SQUARES * squares + GRADIENTS * _slopes(error, counts)
    uneven = unevenness(error)
    total += DRIFT * drift + EVEN * uneven + KL * kl
    parts = {
        "loss": total,
        "squares": squares,
        "uneven": uneven,
        "drift": drift,
        "kl": kl,
        "latents": jnp.mean(jnp.square(mean)),
    }
    return total, parts


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The learning rate: up from nothing, level, and down to nothing over the last share of the steps."""

    steps: int
    peak: float = 3e-3
    warm_up: int = 50
    falling: float = 0.3

    def rate(self, step: jax.typing.ArrayLike) -> jax.Array:
        left = (self.steps - jnp.asarray(step, jnp.float32)) / max(self.falling * self.steps, 1.0)
        risen = (jnp.asarray(step, jnp.float32) + 1.0) / self.warm_up
        return self.peak * jnp.clip(jnp.minimum(left, risen), 0.0, 1.0)


def optimiser_of(schedule: Schedule) -> optax.GradientTransformation:
    """Muon for kernels, as matrices from what goes in to what comes out; Adam for gains and biases."""

    def axes(stacks: Any) -> Any:
        return jax.tree.map(_matrix, stacks)

    muon = optax.contrib.muon(schedule.rate, muon_weight_dimension_numbers=axes, consistent_rms=0.2, adam_b2=0.99)
    return optax.chain(optax.clip_by_global_norm(1.0), muon)


def _matrix(stack: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
    if stack.ndim == 2:
        return None
    return optax.contrib.MuonDimensionNumbers(tuple(range(1, stack.ndim - 1)), stack.ndim - 1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """All that a step changes."""

    params: Stacks
    average: Stacks
    """An exponential average of `params`: what is exported."""
    optimiser: Any
    step: jax.Array


def started(stacks: Stacks, optimiser: optax.GradientTransformation) -> State:
    """The state before the first step."""
    copies = jax.tree.map(jnp.copy, stacks)  # a step gives both away
    return State(stacks, copies, optimiser.init(stacks), jnp.zeros((), jnp.int32))


Gradients = Callable[[Stacks, np.ndarray, int, jax.Array], tuple[Stacks, dict[str, jax.Array]]]


def gradients_of(nets: Nets) -> Gradients:
    """(parameters, pixels, window, key) -> (gradients, parts of the loss); compiles once for each shape of sample."""

    @functools.cache
    def of(window: int) -> Callable[..., tuple[Params, dict[str, jax.Array]]]:
        return jax.jit(jax.grad(functools.partial(loss_of, nets, window), has_aux=True))

    def run(stacks: Stacks, pixels: np.ndarray, window: int, key: jax.Array) -> tuple[Stacks, dict[str, jax.Array]]:
        found, parts = of(window)(nets.unstacked(stacks), pixels, key)
        return nets.stacked(found), parts

    return run


def update_of(optimiser: optax.GradientTransformation) -> Callable[[State, Stacks], tuple[State, jax.Array]]:
    """(state, gradients) -> (state, norm of the gradients)."""

    def run(state: State, gradients: Stacks) -> tuple[State, jax.Array]:
        changes, inner = optimiser.update(gradients, state.optimiser, state.params)
        params = optax.apply_updates(state.params, changes)
        decay = jnp.minimum(BETWEEN, (1.0 + state.step) / (10.0 + state.step))
        average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.average, params)
        return State(params, average, inner, state.step + 1), optax.global_norm(gradients)

    return jax.jit(run, donate_argnums=0)
