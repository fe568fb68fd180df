"""Latents of every video in a folder, as a trainer reads them: scaled, bfloat16, one file a clip, one model for all.

python examples/cache_latents.py VIDEOS LATENTS [MODEL]

Files that are there already are left alone, so that it can be run again after more videos came.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cogvae_cli as cogvae
from cogvae_cli.pipeline.encode import EncodeOptions

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")


def main(videos: str, latents: str, model: str = "cogvideox-2b") -> None:
    """Encodes what isn't encoded yet."""
    vae = cogvae.load(model)
    options = EncodeOptions(store_dtype="bfloat16", scaled=True)
    folder = Path(latents)
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(videos).iterdir()):
        output = folder / f"{path.name}.safetensors"  # the whole name: a.mp4 and a.mov are two clips
        if path.suffix.lower() not in SUFFIXES or output.exists():
            continue
        try:
            result = cogvae.encode_file(path, output, model=vae, options=options)
        except cogvae.errors.InputError as error:  # one broken video doesn't end the run
            print(f"left out: {error.message}", file=sys.stderr)
            continue
        print(f"{output}: {' x '.join(map(str, result.latents_shape))}")


if __name__ == "__main__":
    main(*sys.argv[1:])
