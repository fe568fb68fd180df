"""What an actor does, without a cluster around it."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from batch_runs import write_clips

from cogvae_cli.io.latents import read_latents
from cogvae_cli.io.read_options import ReadOptions, Window
from cogvae_cli.pipeline.batch_messages import Broken, Failed, Job, Made, Part, Task
from cogvae_cli.pipeline.batch_ray_actor import ClipActor
from cogvae_cli.pipeline.encode import EncodeOptions

pytestmark = pytest.mark.ray


@pytest.fixture
def clips(tmp_path, monkeypatch) -> Path:
    """Two clips and one that is none; temporary files are where they can be counted."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    write_clips(tmp_path / "clips", {"0.mp4": 9, "1.mp4": 21})
    (tmp_path / "clips/2.mp4").write_bytes(b"no video")
    return tmp_path / "clips"


def job(model: str, options: EncodeOptions) -> Job:
    return Job("encode", model, options, Path("nowhere"), ".npz", 4)


def made_by(actor: ClipActor, clips: Path) -> list:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(actor.make, [Task(number, str(clips / f"{number}.mp4")) for number in range(3)]))


def test_an_actor_hands_over_all_that_a_source_became_and_leaves_nothing(clips, tmp_path):
    reading = ReadOptions(frames=9, window=Window("all"))
    actor = ClipActor(job("tiny", EncodeOptions(reading=reading)), timeout=300)
    try:
        (one, files), (two, more), (none, nothing) = made_by(actor, clips)
    finally:
        actor.close()
    assert [type(event) for event in (*one.events, *two.events, *none.events)] == [Made, Part, Made, Failed]
    assert (len(files), len(more), nothing) == (1, 2, [])
    for number, data in enumerate((*files, *more)):
        (tmp_path / f"{number}.npz").write_bytes(data)
        assert read_latents(tmp_path / f"{number}.npz").header.frames.count == 9
    assert any("tiny" in text for outcome in (one, two, none) for text in outcome.notices)
    assert not list((tmp_path / "tmp").iterdir())


def test_what_makes_all_clips_impossible_is_said_of_each(clips, tmp_path):
    actor = ClipActor(job(str(tmp_path / "no-model"), EncodeOptions()), timeout=300)
    try:
        outcomes = [outcome for outcome, _ in made_by(actor, clips)]
    finally:
        actor.close()
    assert [type(event) for outcome in outcomes for event in outcome.events] == [Broken] * 3
    assert "no-model" in outcomes[0].events[0].error.message
    assert not list((tmp_path / "tmp").iterdir())
