"""The programs that a clip of some size needs, as shapes, and what the compiler says of them: memory, work, traffic.

A direction has two: one for the first chunk, which starts without a cache, and one for every later chunk.
Nothing here needs the device that is compiled for: shapes may be placed on a topology that isn't there.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from cogvae_cli.model import chunks
from cogvae_cli.model.config import SPACE
from cogvae_cli.model.vae import Network, decode_step, encode_step

Which = Literal["first", "later"]
WHICH: tuple[Which, ...] = ("first", "later")

Place = Callable[[Any], Any]
"""Puts a tree of shapes on the devices that are compiled for."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """What the compiler says of one program, for one chip: bytes, and floating-point operations."""

    arguments: int
    """Weights, the chunk, and the cache of the chunk before."""
    outputs: int
    aliased: int
    """Bytes of outputs that take the place of arguments: a donated cache."""
    temp: int
    """Work memory while it runs."""
    code: int
    flops: float
    traffic: float
    """Bytes read from and written to the device's memory."""
    compile_seconds: float

    @property
    def total(self) -> int:
        """Bytes on the chip at the program's peak."""
        return self.arguments + self.outputs - self.aliased + self.temp + self.code


@dataclasses.dataclass(frozen=True)
class Program:
    """One of a network's programs at one size in pixels."""

    network: Network
    which: Which
    height: int
    width: int
    batch: int = 1

    @property
    def chunk(self) -> jax.ShapeDtypeStruct:
        """Its chunk: pixels, or latents."""
        first = self.which == "first"
        if self.network.part == "encoder":
            frames = chunks.FIRST_FRAMES if first else chunks.FRAMES
            return jax.ShapeDtypeStruct((self.batch, frames, self.height, self.width, 3), jnp.uint8)
        latents = chunks.FIRST_LATENTS if first else chunks.LATENTS
        channels = self.network.config.latent_channels
        shape = (self.batch, latents, self.height // SPACE, self.width // SPACE, channels)
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    @property
    def step(self) -> Any:
        """The jitted step, with all but its arrays."""
        if self.network.part == "encoder":
            return functools.partial(encode_step, network=self.network)
        return functools.partial(decode_step, network=self.network, pixels=True)

    def caches(self) -> Any:
        """The cache that goes in, as shapes: None for the first chunk."""
        if self.which == "first":
            return None
        first = dataclasses.replace(self, which="first")
        _, caches = jax.eval_shape(first.step, self.network.shapes(), first.chunk, None)
        return caches

    def lower(self, place: Place = lambda tree: tree) -> jax.stages.Lowered:
        """Traced and lowered for where `place` puts its arguments."""
        step = encode_step if self.network.part == "encoder" else decode_step
        options = {"network": self.network} | ({} if self.network.part == "encoder" else {"pixels": True})
        arguments = place((self.network.shapes(), self.chunk, self.caches()))
        lowered: jax.stages.Lowered = step.lower(*arguments, **options)
        return lowered

    def figures(self, place: Place = lambda tree: tree) -> Figures:
        """Compiles it, and asks the compiler."""
        lowered = self.lower(place)
        start = time.perf_counter()
        compiled = lowered.compile()
        return figures_of(compiled, time.perf_counter() - start)


def figures_of(compiled: Any, seconds: float) -> Figures:
    """What the compiler says of a compiled program."""
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    return Figures(
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        temp=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        flops=float(cost.get("flops", 0.0)),
        traffic=float(cost.get("bytes accessed", 0.0)),
        compile_seconds=seconds,
    )
