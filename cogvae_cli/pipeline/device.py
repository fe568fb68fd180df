"""Running the device one chunk ahead of the host, and its errors in words of the tool."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from cogvae_cli.errors import DeviceMemoryError
from cogvae_cli.model.config import TIME
from cogvae_cli.pipeline.frames import Chunk
from cogvae_cli.pipeline.progress import Progress

Item = TypeVar("Item")
Pending = TypeVar("Pending")

PROGRAMS = 2
"""A direction compiles one program for its first chunk and one for all others."""

_MEMORY_WORDS = ("RESOURCE_EXHAUSTED", "Out of memory")
"""What XLA's errors say; a CPU's error of a step that was dispatched has no code of its own."""

_MEMORY_HINT = "use a smaller video, or --dtype bfloat16, which halves what the network holds"


class Compiling:
    """Names the time in which the first chunks compile, and measures it.

    `prepare` compiles all that the clip will need, given its first chunk; whatever it leaves out compiles in the first
    calls, before they return, so that their time is that of compiling.
    """

    def __init__(self, progress: Progress, size: str, doing: str, prepare: Callable[[Any], None] | None = None) -> None:
        self._progress = progress
        self._size = size
        self._doing = doing
        self._prepare = prepare
        self._over = False
        self.seconds = 0.0

    def run(self, index: int, dispatch: Callable[[Item], Pending], item: Item) -> Pending:
        """Calls `dispatch` for chunk number `index`."""
        if index == 0:
            self._progress.phase(f"compiling the network for {self._size}, once per size and run; it may take minutes")
        start = time.perf_counter()
        if index == 0 and self._prepare is not None:
            self._prepare(item)
            self.seconds = time.perf_counter() - start
            self.end()
            return dispatch(item)
        pending = dispatch(item)
        if index < PROGRAMS and self._prepare is None:
            self.seconds += time.perf_counter() - start
        if index == PROGRAMS - 1:
            self.end()
        return pending

    def end(self) -> None:
        """No more is compiled."""
        if not self._over:
            self._over = True
            self._progress.phase(self._doing)


def one_ahead(
    dispatch: Callable[[Item], Pending], items: Iterable[Item], compiling: Compiling
) -> Iterator[tuple[Item, Pending]]:
    """Dispatches item n+1 before handing out what item n became, so that the device never waits for the host."""
    last: tuple[Item, Pending] | None = None
    for index, item in enumerate(items):
        pending = compiling.run(index, dispatch, item)
        if last is not None:
            yield last
        last = (item, pending)
        del item, pending  # what was handed out is not kept while the next chunk is awaited
    compiling.end()
    if last is not None:
        yield last


@contextmanager
def named_memory_errors(size: str) -> Iterator[None]:
    """Turns running out of memory, on the host or the device, into DeviceMemoryError that names the frames' size."""
    import jax

    try:
        yield
    except MemoryError as error:
        raise DeviceMemoryError(f"out of memory at {size}", _MEMORY_HINT) from error
    except jax.errors.JaxRuntimeError as error:
        if not any(words in str(error) for words in _MEMORY_WORDS):
            raise
        raise DeviceMemoryError(f"the device ran out of memory at {size}", _MEMORY_HINT) from error


def check_encoded(finite: np.ndarray, chunk: Chunk) -> None:
    """`finite` [1 t] of the latent frames that a chunk of frames became. Raises NonFiniteError naming the frame."""
    from cogvae_cli.model.autoencoder import check_finite

    lone = chunk.first == 0  # the first latent frame of a clip stands for one frame, the others for four
    by_frame = np.concatenate([finite[:, :lone], np.repeat(finite[:, lone:], TIME, axis=1)], axis=1)
    check_finite(by_frame, chunk.first, "the encoding of frame")


def check_decoded(finite: np.ndarray, first: int) -> None:
    """`finite` [1 T] of decoded frames, the first of them being frame `first`. Raises NonFiniteError naming it."""
    from cogvae_cli.model.autoencoder import check_finite

    check_finite(finite, first, "decoded frame")


def device_name() -> str:
    """The device that computes, as JAX names it: `cpu`, `TPU v5 lite`, `NVIDIA H100 80GB HBM3`."""
    import jax

    return str(jax.devices()[0].device_kind)
