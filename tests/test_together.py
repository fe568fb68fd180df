"""Clips that are encoded together: each as if it were alone, whoever else is there, ends early or fails."""

from __future__ import annotations

import numpy as np
import pytest
from batch_runs import write_clips
from media import write_numbered

from cogvae_cli.io.latents import read_latents
from cogvae_cli.model.autoencoder import VAE
from cogvae_cli.pipeline.batch_clips import maker_for
from cogvae_cli.pipeline.batch_messages import Failed, Job, Made, Task
from cogvae_cli.pipeline.batch_worker import work
from cogvae_cli.pipeline.encode import EncodeOptions, encode_file
from cogvae_cli.pipeline.loading import load
from cogvae_cli.pipeline.progress import Progress
from cogvae_cli.pipeline.together import Together

LENGTHS = {"0.mp4": 17, "1.mp4": 9, "2.mp4": 25, "3.mp4": 12, "4.mp4": 17}
SIZE = 2
TOLERANCE = 1e-6  # measured: 4e-7


@pytest.fixture
def batches(monkeypatch) -> list[int]:
    """How many places each chunk had that was computed."""
    found, encode = [], VAE.encode_chunk

    def counted(self, frames, caches):
        found.append(len(frames))
        return encode(self, frames, caches)

    monkeypatch.setattr(VAE, "encode_chunk", counted)
    return found


def test_clips_that_are_encoded_together_are_what_they_are_alone(batches, tmp_path):
    clips = write_clips(tmp_path / "clips", LENGTHS)
    write_numbered(clips / "small.mp4", 9, (32, 48))
    (clips / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "made").mkdir()
    job = Job("encode", "tiny", EncodeOptions(), tmp_path / "made", ".npz", 2 * SIZE + 2, batch_size=SIZE)
    said = []
    names = sorted(path.name for path in clips.iterdir())
    tasks = [Task(number, str(clips / name)) for number, name in enumerate(names)]
    work(maker_for(job, Progress()), tasks, said.append, threads=job.threads, together=Together(SIZE))
    assert set(batches) == {SIZE}
    assert len(batches) <= 2 + 2 + 4 + 1  # alone they are 3+2+4+2+3 and the small one's 1
    assert [message.number for message in said if isinstance(message, Failed)] == [names.index("bad.mp4")]
    made = {message.number: message.path for message in said if isinstance(message, Made)}
    assert len(made) == len(LENGTHS) + 1
    vae = load("tiny")
    for number, path in made.items():
        encode_file(clips / names[number], tmp_path / "alone.npz", model=vae, options=EncodeOptions(overwrite=True))
        one, other = (read_latents(each).arrays["latents"] for each in (path, tmp_path / "alone.npz"))
        assert one.shape == other.shape
        assert np.abs(one - other).max() <= TOLERANCE
