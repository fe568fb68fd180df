"""A stage of the training: its options, its steps, its checkpoint and its log."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import numpy as np

from cogvae_cli.errors import UsageError
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.model_folder import on_disk
from cogvae_cli.io.weights import read_tensors
from tiny_training import samples
from tiny_training.learning import Nets, Schedule, State, gradients_of, optimiser_of, started, update_of
from tiny_training.samples import Samples, Shape

COURSES: Mapping[str, tuple[tuple[float, Shape], ...]] = {
    "small": ((0.65, Shape(1, 9, 64)), (0.35, Shape(2, 1, 128))),
    "large": (
        (0.45, Shape(1, 9, 160)),
        (0.15, Shape(1, 17, 128)),
        (0.20, Shape(2, 1, 256)),
        (0.20, Shape(4, 1, 160, flat=True)),
    ),
    "windows": (
        (0.50, Shape(1, 9, 160, window=12)),
        (0.13, Shape(1, 17, 128, window=10)),
        (0.12, Shape(1, 9, 160)),
        (0.12, Shape(2, 1, 256, window=16)),
        (0.13, Shape(4, 1, 160, flat=True)),
    ),
    "clips": (
        (0.48, Shape(1, 9, 160, window=12)),
        (0.24, Shape(1, 17, 128, window=10)),
        (0.16, Shape(1, 9, 160)),
        (0.12, Shape(4, 1, 160, flat=True)),
    ),
}
"""Shares and shapes of the samples of a stage. Small crops teach sooner; large ones have the norm statistics of whole
frames, and only they go on to a second chunk. Images teach a clip's first frame, which has the most of the latents
anyway: a stage without them comes last. A flat clip is to the network what one frame of it is."""

EVERY = 20
"""Steps that a line of the log sums up."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage is: two runs of equal stages on one machine end with the same weights, to the bit."""

    steps: int
    course: str = "small"
    seed: int = 0
    rate: float = 3e-3
    falling: float = 0.3
    batch: int = 1
    """Multiplies the batch of each shape."""
    begins: str | None = None
    """sha256 of the weights that it begins with; None: random ones of the seed."""

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.steps, self.rate, falling=self.falling)

    def shape(self, number: int) -> Shape:
        """The shape of sample `number`."""
        course = COURSES[self.course]
        draw = np.random.default_rng((self.seed, number, 1)).choice(len(course), p=[share for share, _ in course])
        shape = course[draw][1]
        return dataclasses.replace(shape, batch=shape.batch * self.batch)


@dataclasses.dataclass(frozen=True)
class Folder:
    """The files of a run."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.npz"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def media(self) -> Path:
        return self.path / "media"

    def write(self, event: str, **fields: Any) -> None:
        """Appends a line to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, **fields}) + "\n")

    def save(self, stage: Stage, state: State) -> None:
        """Writes the checkpoint, whole or not at all."""
        leaves = {str(place): np.asarray(leaf) for place, leaf in enumerate(jax.tree.leaves(state))}
        part = self.checkpoint.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, stage=json.dumps(dataclasses.asdict(stage)), **leaves)
        part.replace(self.checkpoint)

    def kept(self, nets: Nets) -> tuple[Stage, State]:
        """What the checkpoint holds."""
        with np.load(self.checkpoint) as kept:
            stage = Stage(**json.loads(str(kept["stage"])))
            structure = jax.tree.structure(jax.eval_shape(lambda: first_state(nets, stage, None)))
            leaves = [jax.numpy.asarray(kept[str(i)]) for i in range(structure.num_leaves)]
        state: State = jax.tree.unflatten(structure, leaves)
        return stage, state

    def restored(self, nets: Nets, stage: Stage) -> State:
        """The state to go on from. Raises UsageError where it is another stage's."""
        was, state = self.kept(nets)
        if was != stage:
            raise UsageError(f"{self.path} holds a checkpoint of {was}, not of {stage}", "give another folder")
        return state


def first_state(nets: Nets, stage: Stage, begins: Path | None) -> State:
    """The state before the first step, from the weights of `begins` or from the seed."""
    params = nets.fresh(stage.seed) if begins is None else nets.read(read_tensors(on_disk(begins)))
    return jax.jit(functools.partial(started, optimiser=optimiser_of(stage.schedule)))(nets.stacked(params))


def sha256_of_weights(begins: Path) -> str:
    """Of the one file of weights of a folder in diffusers' form, or of the file itself."""
    (file,) = on_disk(begins).weights
    return sha256_of(file)


def sha256_of_code() -> str:
    """Of the script's own files, by name."""
    sha = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted([*folder.glob("*.py"), folder.parent / "train_tiny.py"]):
        sha.update(path.name.encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()


@dataclasses.dataclass(frozen=True)
class Pace:
    """When to save and when to stop; no part of what is learned."""

    save_every: int = 200
    minutes: float | None = None


def learn(nets: Nets, stage: Stage, media: Sequence[np.ndarray], state: State, folder: Folder, pace: Pace) -> State:
    """Goes on from `state` to the stage's end, the time's, or SIGTERM or SIGINT; saves and logs on the way."""
    draws = Samples(media, stage.seed)
    gradients, update = gradients_of(nets), update_of(optimiser_of(stage.schedule))
    key, done = jax.random.key(stage.seed), int(state.step)
    tally, stop_at = Tally(), time.monotonic() + 60 * (pace.minutes or float("inf"))
    with _stopping() as told:
        drawn = samples.ahead(lambda number: draws.draw(number, stage.shape(number)), range(done, stage.steps))
        for number, pixels in enumerate(drawn, done):
            shape = stage.shape(number)
            found, parts = gradients(state.params, pixels, shape.window, jax.random.fold_in(key, number))
            state, norm = update(state, found)
            tally.add(shape, parts | {"gradients": norm})
            last = bool(told) or time.monotonic() > stop_at or number + 1 == stage.steps
            if last or (number + 1) % EVERY == 0:
                folder.write("steps", step=number + 1, rate=float(stage.schedule.rate(number)), **tally.take())
            if last or (number + 1) % pace.save_every == 0:
                folder.save(stage, state)
            if last:
                break
    return state


class Tally:
    """Means of what the steps said, by the shape of their sample."""

    def __init__(self) -> None:
        self._said: dict[str, list[dict[str, float]]] = defaultdict(list)
        self._start = time.monotonic()

    def add(self, shape: Shape, parts: Mapping[str, Any]) -> None:
        self._said[shape.name].append({name: float(value) for name, value in parts.items()})

    def take(self) -> dict[str, Any]:
        """The means since the last call, PSNR in dB, and seconds a step."""
        count = sum(map(len, self._said.values()))
        seconds = time.monotonic() - self._start
        means = {shape: _means(said) for shape, said in sorted(self._said.items())}
        self.__init__()  # type: ignore[misc]  # as new
        return {"seconds_a_step": round(seconds / max(count, 1), 3), "shapes": means}


def _means(said: list[dict[str, float]]) -> dict[str, float]:
    means = {name: float(np.mean([parts[name] for parts in said])) for name in said[0]}
    psnr = float(np.mean([10 * np.log10(4.0 / parts["squares"]) for parts in said]))
    return {"steps": len(said), "psnr": round(psnr, 2)} | {name: float(f"{value:.4g}") for name, value in means.items()}


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that holds the signals that asked for an end."""
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)

    before: dict[int, Callable[..., Any] | int | None] = {
        number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def machine() -> dict[str, Any]:
    """What the run is made on."""
    return {"device": jax.devices()[0].device_kind, "cores": os.cpu_count(), "jax": jax.__version__}
