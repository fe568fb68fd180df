"""A whole data set on a Ray cluster, from Python; what it prints at the end says what became of it.

ray job submit --working-dir examples -- python ray_batch.py VIDEOS LATENTS [MODEL]

VIDEOS is a folder or a URL that every node can read; LATENTS a folder that the node with this script can write to.
cogvae has to be installed on every node, and the model's files there or at a path that all of them see.
"""

from __future__ import annotations

import sys

import cogvae_cli as cogvae
from cogvae_cli.pipeline.batch_options import BatchOptions, RayOptions
from cogvae_cli.pipeline.encode import EncodeOptions
from cogvae_cli.pipeline.video_options import ReadOptions


def main(videos: str, latents: str, model: str = "cogvideox-2b") -> int:
    """Encodes what isn't encoded yet; a second run goes on where the first one was stopped."""
    options = EncodeOptions(store_dtype="bfloat16", scaled=True, reading=ReadOptions(frames=49))
    batch = BatchOptions(recursive=True, existing="skip", ray=RayOptions())
    result = cogvae.encode_batch([videos], latents, model=model, options=options, batch=batch)
    counts = result.counts
    print(f"{counts.done} encoded, {counts.skipped} were there, {counts.failed} failed; see {result.manifest}")
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
