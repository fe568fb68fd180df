"""What the tests of the main job do and check: encode, decode, and read the numbers on the frames that come back."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from media import are_in_order

from cogvae_cli.cli.main import main
from cogvae_cli.io.video_reader import VideoReader, probe


def encode(clip: Path, latents: Path, *options: str) -> None:
    assert main(["encode", str(clip), "-o", str(latents), "--model", "tiny", "-q", *options]) == 0


def decode(latents: Path, video: Path, *options: str) -> None:
    assert main(["decode", str(latents), "-o", str(video), "-q", *options]) == 0


def there_and_back(clip: Path, *, latents: str = "z.npz", video: str = "out.mp4") -> Path:
    encode(clip, clip.with_name(latents))
    decode(clip.with_name(latents), clip.with_name(video), "--crf", "4")  # numbers on small frames need a mild codec
    return clip.with_name(video)


def assert_same_video(video: Path, frames: int, size: tuple[int, int], rate: Fraction) -> None:
    """The frames carry the numbers 0, 1, 2, … as well as the built-in model shows them; size and rate are exact."""
    info = probe(video)
    assert (info.width, info.height) == size
    with VideoReader(video) as reader:
        assert are_in_order(reader.frames(), frames)
        assert (reader.timing.rate, reader.timing.variable) == (rate, False)
