"""A clip through the VAE and back, from Python, and how much was lost.

python examples/library_roundtrip.py [VIDEO] [MODEL]
"""

from __future__ import annotations

import sys

import cogvae_cli as cogvae


def main(source: str | None = None, model: str | None = None) -> None:
    """Prints the figures of the clip, and its worst frame."""
    result = cogvae.roundtrip_file(source, model=model)  # nothing given: the built-in clip and model
    quality = result.quality
    print(f"{quality.frames} frames of {result.width}x{result.height} through {result.model.name}")
    print(f"PSNR {quality.psnr_mean:.2f} dB, SSIM {quality.ssim_mean:.4f}")
    worst = min(range(quality.frames), key=lambda frame: quality.ssim_by_frame[frame])
    print(f"worst frame: {worst}, SSIM {quality.ssim_by_frame[worst]:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
