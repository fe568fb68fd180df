"""The plan of time: which frames and latent frames are computed together. Integers only.

The encoder takes 8 frames at a time and the decoder 2 latent frames; what is left over by the division goes to the
first chunk. The lengths are part of the model (norm statistics span a chunk), so they are no option.
Reference: diffusers AutoencoderKLCogVideoX._encode and ._decode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Part = Literal["encoder", "decoder"]

FRAMES = 8
"""Frames in every encoder chunk but the first."""

LATENTS = 2
"""Latent frames in every decoder chunk but the first."""

FIRST_FRAMES = FRAMES + 1
FIRST_LATENTS = LATENTS + 1

LENGTHS: Mapping[Part, tuple[int, int]] = {"encoder": (FIRST_FRAMES, FRAMES), "decoder": (FIRST_LATENTS, LATENTS)}
"""Of the first chunk of a long clip, and of every later one: frames for the encoder, latent frames for the decoder."""


def encode_plan(frames: int) -> tuple[int, ...]:
    """Lengths of the encoder's chunks for that many frames, as upstream cuts them: 13 -> (13,), 25 -> (9, 8, 8)."""
    return _plan(frames, FRAMES)


def decode_plan(latents: int) -> tuple[int, ...]:
    """Lengths of the decoder's chunks for that many latent frames: 13 -> (3, 2, 2, 2, 2, 2), 4 -> (2, 2), 1 -> (1,)."""
    return _plan(latents, LATENTS)


def _plan(length: int, step: int) -> tuple[int, ...]:
    if length < 1:
        raise ValueError(f"a plan needs at least one frame, got {length}")
    count = max(length // step, 1)
    return (length - step * (count - 1),) + (step,) * (count - 1)


def latents_of(frames: int) -> int:
    """Latent frames that the encoder makes of that many frames: ceil(frames / 4)."""
    return -(-frames // 4)


def frames_of(latents: int) -> int:
    """Frames that the decoder makes of that many latent frames: 4(L-1)+1 for odd L, 4L for even L."""
    return 4 * (latents - 1) + 1 if latents % 2 else 4 * latents


def padded(frames: int) -> int:
    """The smallest 8k+1 that holds that many frames: 1 -> 1, 2 -> 9, 49 -> 49, 50 -> 57."""
    return frames + (1 - frames) % FRAMES


def trimmed(frames: int) -> int:
    """The largest 8k+1 within that many frames: 8 -> 1, 9 -> 9, 50 -> 49."""
    return frames - (frames - 1) % FRAMES


def is_exact(frames: int) -> bool:
    """Whether upstream gives back as many frames as went in: 1, 8k and 8k+1 only."""
    return frames == frames_of(latents_of(frames))
