"""A clip's latents as a diffusers pipeline takes and gives them, and back into a video.

python examples/latents_for_diffusers.py VIDEO [MODEL]

Between the two halves a CogVideoX pipeline would work on the file, say for video to video:

    latents = torch.load("clip.pt")                 # [1 T 16 h w], scaled, as pipe(..., output_type="latent") gives
    latents = pipe(prompt, latents=latents, output_type="latent").frames
    torch.save(latents, "new.pt")

Reading new.pt then needs `ImportOptions(format="diffusers")` and the model's name, for such a file says neither.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cogvae_cli as cogvae
from cogvae_cli.pipeline.convert import convert_file
from cogvae_cli.pipeline.convert_plan import ConvertOptions
from cogvae_cli.pipeline.importing import ImportOptions


def main(video: str, model: str = "cogvideox-2b") -> None:
    """Writes STEM.npz, STEM.pt and STEM.back.mp4 beside the video."""
    source = Path(video)
    latents, exchanged = source.with_suffix(".npz"), source.with_suffix(".pt")
    cogvae.encode_file(source, latents, model=model)
    made = convert_file(latents, exchanged, options=ConvertOptions(foreign=ImportOptions(format="diffusers")))
    for notice in made.notices:
        print(f"notice: {notice}")
    shown = cogvae.decode_file(exchanged, source.with_suffix(".back.mp4"), model=model)
    print(f"{exchanged}: {made.dtype}, times {made.scaling_factor}; {shown.output}: {shown.frames} frames")


if __name__ == "__main__":
    main(*sys.argv[1:])
