"""The programs that a clip of some size needs, as shapes, and what the compiler says of them: memory, work, traffic.

A direction has two: one for the first chunk, which starts without a cache, and one for every later chunk.
Nothing here needs the device that is compiled for: shapes may be placed on a topology that isn't there.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp

from cogvae_cli.model.chunks import FIRST_FRAMES, FIRST_LATENTS
from cogvae_cli.model.config import SPACE
from cogvae_cli.model.sharding import place_shapes
from cogvae_cli.model.vae import Network, decode_step, encode_step

ON_TPU: dict[str, bool | int | str] = {
    "xla_tpu_enable_latency_hiding_scheduler": False,
    "xla_tpu_scoped_vmem_limit_kib": 8192,
}
"""How TPUs compile. The scheduler that hides waiting for other chips holds the frames of all layers to the end, where
it cuts the caches from them: more than twice the work memory, for the wait for a few rows.

With half of the vector memory that it takes by default, each loop is written out half as far: programs compile in about
half the time, to about 5 % more cycles by the compiler's own estimate (docs/performance.md)."""

Options = Mapping[str, bool | str]
"""Of XLA's compiler, by their names."""

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
    """One of a network's programs, for frames or tiles of one size."""

    network: Network
    length: int
    """Frames (encoder) or latent frames (decoder) of its chunk."""
    later: bool
    """Whether it goes on from the cache of a chunk before."""
    height: int
    """In pixels, and so is the width."""
    width: int
    batch: int = 1
    raw: bool = False
    """Whether its results are neither clamped nor rounded: tiles, which are blended first, and frames as floats."""

    @property
    def chunk(self) -> jax.ShapeDtypeStruct:
        """Its chunk: pixels [B T H W 3] uint8, or latents [B t h w z] float32."""
        if self.network.part == "encoder":
            return _shape((self.batch, self.length, self.height, self.width, 3), jnp.uint8)
        channels = self.network.config.latent_channels
        size = (self.height // SPACE, self.width // SPACE)
        return _shape((self.batch, self.length, *size, channels), jnp.float32)

    def caches(self) -> Any:
        """The cache that goes in, as shapes: None for a first chunk."""
        return self.new_caches() if self.later else None

    def new_caches(self) -> Any:
        """The cache that comes out, as shapes: after a chunk of any length those that the usual first one leaves."""
        length = FIRST_FRAMES if self.network.part == "encoder" else FIRST_LATENTS
        first = dataclasses.replace(self, length=length, later=False)  # which is traced anyway, and then not again
        _, caches = self._anywhere.eval_shape(self.network.shapes(), first.chunk, None, **self._options)
        return caches

    def lower(self, place: Place = lambda tree: tree) -> jax.stages.Lowered:
        """Traced and lowered for where `place` puts its arguments."""
        shapes = (self.network.shapes(), self.chunk, self.caches())
        arguments = place(place_shapes(shapes, self.network.mesh))
        lowered: jax.stages.Lowered = self._step(arguments).lower(*arguments, **self._options)
        return lowered

    def compile(self, place: Place = lambda tree: tree) -> tuple[Any, Figures]:
        """What runs it, and what the compiler says of it."""
        return _compiled(self.lower(place))

    def run(self, params: Any, chunk: Any, caches: Any) -> Any:
        """Runs it by the jitted step, which compiles it when it is first met."""
        return self._step(params)(params, chunk, caches, **self._options)

    def _step(self, arguments: Any) -> Any:
        """As it is compiled for the platform that they are on."""
        on_tpu = _platform(arguments) == "tpu"
        return _for_tpu(self._anywhere, tuple(self._options)) if on_tpu else self._anywhere

    @property
    def _anywhere(self) -> Any:
        return encode_step if self.network.part == "encoder" else decode_step

    @property
    def _options(self) -> dict[str, Any]:
        name = "clamp" if self.network.part == "encoder" else "pixels"
        return {"network": self.network, name: not self.raw}


@functools.cache
def _for_tpu(step: Any, static: tuple[str, ...]) -> Any:
    return jax.jit(step.__wrapped__, static_argnames=static, donate_argnames=("caches",), compiler_options=ON_TPU)


def _platform(tree: Any) -> str:
    """Of arrays, or of shapes that are placed; the default one where they aren't."""
    shardings = [leaf.sharding for leaf in jax.tree.leaves(tree) if getattr(leaf, "sharding", None) is not None]
    return str(next(iter(shardings[0].device_set)).platform) if shardings else jax.default_backend()


def _shape(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


_READY: dict[Program, tuple[Any, Figures]] = {}
"""What was compiled ahead in this process: as with jit's own cache, weights are arguments, so all models share it."""

_COMPILING = threading.Lock()


def compile_ahead(programs: Iterable[Program], options: Options | None = None) -> list[Figures]:
    """Compiles those that aren't yet, each in a thread of its own; says what the compiler says of all of them."""
    wanted = list(dict.fromkeys(programs))
    with _COMPILING:  # who comes second finds what he wants
        missing = [program for program in wanted if program not in _READY]
        if missing:
            with ThreadPoolExecutor(len(missing)) as pool:
                found = [pool.submit(_compiled, program.lower(), options) for program in missing]
            _READY.update(zip(missing, [each.result() for each in found], strict=True))
    return [_READY[program][1] for program in wanted]


def ready() -> tuple[Program, ...]:
    """Those that are compiled ahead."""
    return tuple(_READY)


def run(program: Program, params: Any, chunk: Any, caches: Any) -> Any:
    """Runs a program on its arrays, `caches` are consumed; what wasn't compiled ahead compiles when it is first met."""
    compiled = _READY.get(program)
    if compiled is None or chunk.dtype != program.chunk.dtype:
        return program.run(params, chunk, caches)
    return compiled[0](params, chunk, caches)


def _compiled(lowered: jax.stages.Lowered, options: Options | None = None) -> tuple[Any, Figures]:
    start = time.perf_counter()
    compiled: Any = lowered.compile(dict(options) if options else None)
    seconds = time.perf_counter() - start
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    return compiled, Figures(
        arguments=memory.argument_size_in_bytes,
        outputs=memory.output_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        temp=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        flops=float(cost["flops"]),
        traffic=float(cost["bytes accessed"]),
        compile_seconds=seconds,
    )
