"""A video of any length through the VAE with the memory of two chunks: nothing is ever held as a whole.

python examples/stream_long_video.py [FRAMES] [MODEL]

Here the frames are drawn; they could as well come from a camera or a simulator.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

import numpy as np

import cogvae_cli as cogvae

HEIGHT, WIDTH = 48, 64
FIRST, REST = 9, 8  # frames of the first chunk and of the others; 8k+1 in all


def frames(count: int) -> Iterator[np.ndarray]:
    """Chunks [1 T H W 3] in [-1, 1] of a pattern that moves."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 12
    done, length = 0, FIRST
    while done < count:
        t = np.arange(done, done + length)[:, None, None] / 10
        yield np.stack([np.sin(x + t), np.cos(y - t), np.sin(x + y + t)], axis=-1)[None].astype(np.float32)
        done, length = done + length, REST


def main(count: str = "81", model: str = "tiny") -> None:
    """Encodes and decodes in step; `count` is 8k+1."""
    vae = cogvae.load(model)
    latents = (posterior.mean for posterior in vae.encode_stream(frames(int(count))))
    worst, shown = 0.0, 0
    for original, back in zip(frames(int(count)), vae.decode_stream(latents), strict=True):
        worst = max(worst, float(np.abs(np.asarray(back) - original).mean()))
        shown += back.shape[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{shown} frames, mean error of the worst chunk {worst:.3f}, {peak:.0f} MB at most")


if __name__ == "__main__":
    main(*sys.argv[1:])
