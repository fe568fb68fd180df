"""Padding to what the network takes, chunks by chunk, and what the device says put in words."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cogvae_cli.errors import DeviceMemoryError, NonFiniteError
from cogvae_cli.model.chunks import encode_plan, padded
from cogvae_cli.pipeline.device import Compiling, check_decoded, check_encoded, named_memory_errors, one_ahead
from cogvae_cli.pipeline.frames import Chunk, crop, pad_edges, prepared
from cogvae_cli.pipeline.progress import Progress


def cut(frames: np.ndarray) -> list[np.ndarray]:
    """As a reader cuts: 9, 8, 8, … and what is left."""
    starts = [0, *range(9, len(frames), 8)]
    return [frames[start:stop] for start, stop in zip(starts, [*starts[1:], len(frames)], strict=True)]


@pytest.mark.parametrize("count", [1, 2, 8, 9, 10, 16, 17, 18, 25, 49, 50])
def test_chunks_are_padded_to_the_models_plan_by_the_last_frame(count, rng):
    frames = rng.integers(0, 256, (count, 8, 16, 3), dtype=np.uint8)
    chunks = list(prepared(cut(frames)))
    assert tuple(len(chunk.frames) for chunk in chunks) == encode_plan(padded(count))
    assert [chunk.first for chunk in chunks] == [0, *range(9, padded(count), 8)]
    assert sum(chunk.count for chunk in chunks) == count
    joined = np.concatenate([chunk.frames for chunk in chunks])
    assert (joined[:count] == frames).all()
    assert (joined[count:] == frames[-1]).all()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 8), (8, 15), (405, 720), (1, 1)])
def test_edges_repeat_and_crop_takes_them_off(height, width, rng):
    frames = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    full = pad_edges(frames)
    assert full.shape[1] % 8 == full.shape[2] % 8 == 0
    assert (full.shape[1] - height) < 8
    assert (full[:, height:, :width] == frames[:, -1:]).all()
    assert (full[:, :height, width:] == frames[:, :, -1:]).all()
    assert (crop(full, height, width) == frames).all()


def test_the_next_chunk_is_dispatched_before_the_last_is_handed_out():
    events: list[str] = []

    def dispatch(number: int) -> str:
        events.append(f"dispatch {number}")
        return f"result {number}"

    for number, result in one_ahead(dispatch, range(3), Compiling(Progress(), "8x8", "encoding")):
        assert result == f"result {number}"
        events.append(f"hand out {number}")
    assert events == ["dispatch 0", "dispatch 1", "hand out 0", "dispatch 2", "hand out 1", "hand out 2"]


class Phases(Progress):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def phase(self, name: str) -> None:
        self.seen.append(name)


@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_the_compile_phase_is_named_once_and_ends(chunks):
    phases = Phases()
    list(one_ahead(lambda item: item, range(chunks), Compiling(phases, "480x272", "encoding")))
    assert len(phases.seen) == 2
    assert phases.seen[0].startswith("compiling the network for 480x272, once per size")
    assert phases.seen[1] == "encoding"


@pytest.mark.parametrize(
    ("first", "bad", "frame"), [(0, 0, 0), (0, 1, 1), (0, 2, 5), (9, 0, 9), (9, 1, 13), (17, 1, 21)]
)
def test_nan_in_latents_names_the_first_frame_that_they_stand_for(first, bad, frame):
    finite = np.ones((1, 3 if first == 0 else 2), bool)
    finite[0, bad] = False
    chunk = Chunk(np.zeros((9, 8, 8, 3), np.uint8), first, 9)
    with pytest.raises(NonFiniteError, match=f"frame {frame} holds NaN"):
        check_encoded(finite, chunk)


def test_nan_in_decoded_frames_names_the_frame():
    finite = np.array([[True, True, False, True]])
    with pytest.raises(NonFiniteError, match="frame 11 holds NaN"):
        check_decoded(finite, 9)
    check_decoded(finite[:, :2], 9)


def test_running_out_of_device_memory_is_told_with_the_size_and_a_hint():
    with pytest.raises(DeviceMemoryError, match="720x480") as caught, named_memory_errors("720x480"):
        jnp.zeros((2**44,), jnp.uint8).block_until_ready()
    assert caught.value.hint


def test_running_out_of_host_memory_is_told_with_the_size():
    with pytest.raises(DeviceMemoryError, match="720x480"), named_memory_errors("720x480"):
        np.empty(2**55, np.uint8)


def test_other_errors_of_the_device_are_not_called_memory():
    def fail() -> None:
        raise ValueError("INTERNAL: something else")

    @jax.jit
    def step(x: jax.Array) -> jax.Array:
        return jax.pure_callback(fail, jax.ShapeDtypeStruct((), jnp.float32))

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"), named_memory_errors("8x8"):
        step(jnp.ones(())).block_until_ready()
