"""Writes tests/data/goldens.npz: what diffusers' AutoencoderKLCogVideoX computes, sampled.

Needs torch and diffusers. Weights and inputs come from seeds (tests/random_weights.py), so the file holds outputs only:
for each network and length, 2,048 values of mean, logvar and decoded frames at seeded places, and each array's shape.

    python tools/make_goldens.py
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import goldens  # noqa: E402  the tests folder is no package
import reference  # noqa: E402


def main() -> None:
    """Runs every case and writes the file."""
    arrays = {}
    for case in goldens.CASES:
        vae = reference.reference_vae(case.config)
        if case.tiling:
            reference.tile(vae, case.tiling)
        outputs = reference.encode(vae, case.frames()) | {"decoded": reference.decode(vae, case.latents())}
        for name, values in outputs.items():
            key = f"{case.name}/{name}"
            arrays[f"{key}/shape"] = np.array(values.shape)
            arrays[f"{key}/values"] = values.reshape(-1)[goldens.places(key, values.size)]
        print(case.name)
    goldens.FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(goldens.FILE, **arrays)


if __name__ == "__main__":
    main()
