"""Inside the worker: clips overlap, one computes at a time, and nothing is compiled twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from batch_runs import write_clips

from cogvae_cli.errors import LatentsError
from cogvae_cli.io.latents import read_header
from cogvae_cli.model.vae import encode_step
from cogvae_cli.pipeline.batch_clips import maker_for
from cogvae_cli.pipeline.batch_messages import WAITING, Failed, FromWorker, Job, Made, Phase, Task
from cogvae_cli.pipeline.batch_worker import work
from cogvae_cli.pipeline.encode import EncodeOptions
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.turns import in_turn

LENGTHS = {"0.mp4": 9, "1.mp4": 25, "2.mp4": 17, "3.mp4": 3, "4.mp4": 33, "5.mp4": 9}


@pytest.fixture(scope="module")
def heard(tmp_path_factory) -> tuple[list[FromWorker], int, Path]:
    """What a worker says of six clips and a bad one, how many programs it compiled, and where the clips are."""
    folder = write_clips(tmp_path_factory.mktemp("worker"), LENGTHS)
    (folder / "bad.mp4").write_bytes(b"no video")
    made = folder / "made"
    made.mkdir()
    maker = maker_for(Job("encode", "tiny", EncodeOptions(), made, ".npz", 3), Progress())
    before, said = encode_step._cache_size(), []
    names = [*LENGTHS, "bad.mp4"]
    work(maker, [Task(n, str(folder / name)) for n, name in enumerate(names)], said.append, threads=3)
    return said, encode_step._cache_size() - before, folder


def test_clips_of_all_lengths_take_two_programs(heard):
    said, compiled, _ = heard
    assert len([message for message in said if isinstance(message, Made)]) == len(LENGTHS)
    assert compiled <= 2  # fewer where another test of this process was first


def test_the_next_clips_are_read_while_one_computes(heard):
    said, _, _ = heard
    first_made = next(n for n, message in enumerate(said) if isinstance(message, Made))
    waiting = {message.number for message in said[:first_made] if message == Phase(message.number, WAITING)}
    assert len(waiting) >= 2


def test_a_clip_that_fails_takes_no_other_with_it(heard):
    said, _, folder = heard
    (failed,) = [message for message in said if isinstance(message, Failed)]
    assert (failed.number, failed.kind, failed.unexpected) == (len(LENGTHS), "VideoError", False)
    assert "Traceback" in failed.trace
    assert sorted(path.name for path in (folder / "made").iterdir()) == sorted(f"{n}.npz" for n in range(len(LENGTHS)))


def test_facts_are_those_of_the_file(heard):
    said, _, _ = heard
    made = next(message for message in said if isinstance(message, Made) and message.number == 1)
    header, shape = read_header(made.path)
    assert (
        (made.facts["frames"], made.facts["latents_shape"]) == (25, list(shape)) == (header.frames.count, [7, 6, 8, 16])
    )
    assert made.facts["source_sha256"] == header.source.sha256


class Turns:
    """A turn that notes when it is taken and given up."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __enter__(self) -> None:
        self.events.append("taken")

    def __exit__(self, *error: object) -> None:
        self.events.append("given up")


def test_a_turn_is_taken_with_the_first_chunk_and_given_up_after_the_last():
    turn = Turns()
    items = (turn.events.append(f"read {n}") or n for n in range(2))
    for item in in_turn(items, turn):
        turn.events.append(f"use {item}")
    assert turn.events == ["read 0", "taken", "use 0", "read 1", "use 1", "given up"]


def test_a_turn_is_given_up_by_a_clip_that_fails():
    turn = Turns()

    def items():
        yield 0
        raise LatentsError("broken")

    with pytest.raises(LatentsError):
        list(in_turn(items(), turn))
    assert turn.events == ["taken", "given up"]
    chunks = in_turn(iter([0, 1]), turn)
    next(chunks)
    chunks.close()
    assert turn.events[2:] == ["taken", "given up"]
