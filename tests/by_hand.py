"""The round trip of a clip done by hand, without the pipeline: what its streams, padding and cropping must come to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cogvae_cli import load
from cogvae_cli.io.video_reader import VideoReader
from cogvae_cli.model.chunks import encode_plan


def frames_of(path: Path) -> np.ndarray:
    """All frames of a video, uint8 [T H W 3]."""
    with VideoReader(path) as reader:
        return np.stack(list(reader.frames()))


def decoded_by_hand(frames: np.ndarray) -> np.ndarray:
    """Encodes and decodes uint8 [T H W 3] with the built-in model; as many frames of the same size come out."""
    count, height, width, _ = frames.shape
    total = 1 + 8 * -(-(count - 1) // 8)  # 8k+1
    widths = ((0, total - count), (0, -height % 8), (0, -width % 8), (0, 0))
    padded = np.pad(frames, widths, mode="edge")[None]
    vae, encode_cache, decode_cache, results, start = load("tiny"), None, None, [], 0
    for length in encode_plan(total):
        encoded, encode_cache = vae.encode_chunk(padded[:, start : start + length], encode_cache)
        decoded, decode_cache = vae.decode_chunk(np.asarray(encoded.mean), decode_cache)
        results.append(np.asarray(decoded.frames)[0])
        start += length
    return np.concatenate(results)[:count, :height, :width]
