"""The weights of a run as a model in diffusers' form, its scaling factor measured."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from cogvae_cli import load
from cogvae_cli.io.fingerprint import sha256_of
from cogvae_cli.io.model_folder import CONFIG, STEM, WEIGHTS
from cogvae_cli.model import weights
from cogvae_cli.model.config import SPACE

PLACES, FRAMES = 4, 9
"""How many clips of how many whole frames of each medium the scaling factor is measured on."""


LOWER: Mapping[str, float] = {
    r"encoder\.(down_blocks\.2\.downsamplers\.0\.conv|(down_blocks\.3|mid_block)\.resnets\.\d\.conv2\.conv)\.": 2.0**-4,
    r"encoder\.down_blocks\.3\.resnets\.0\.conv_shortcut\.bias": 2.0**-4,
    r"decoder\.(up_blocks\.2\.upsamplers\.0\.conv|up_blocks\.3\.resnets\.\d\.conv2\.conv)\.": 2.0**-5,
    r"decoder\.up_blocks\.3\.resnets\.0\.conv_shortcut\.bias": 2.0**-5,
}
"""What writes to the streams between the norms where they are widest, and by how much it is scaled.

Each norm divides by the deviation of its input, so the scale of a stream means nothing to the network, and learning
lets it grow: to 1.5e5 on the built-in clip, where float16 ends at 6.5e4.
"""


def lowered(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same network with smaller numbers between its layers, so that float16 holds them."""
    factors = {name: [factor for found, factor in LOWER.items() if re.match(found, name)] for name in tensors}
    return {name: value * np.float32(math.prod(factors[name])) for name, value in tensors.items()}


def export(
    params: Mapping[str, Any],
    config: Mapping[str, Any],
    media: Sequence[np.ndarray],
    folder: Path,
    *,
    lower: bool = False,
) -> dict[str, Any]:
    """Writes float16 weights and their config; says the file's sha256 and the scaling factor.

    lower: scales the widest streams down; not again where the stage began with weights that were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{STEM}{WEIGHTS}"
    tensors = weights.to_tensors(params)
    halves = {name: value.astype(np.float16) for name, value in (lowered(tensors) if lower else tensors).items()}
    if not all(np.isfinite(value).all() for value in halves.values()):
        raise ValueError("the weights are too big for float16")
    save_file(halves, file, {"format": "pt"})
    _write(folder, config)
    factor = round(1 / _deviation(folder, media), 6)
    _write(folder, {**config, "scaling_factor": factor})
    return {"sha256": sha256_of(file), "bytes": file.stat().st_size, "scaling_factor": factor, "lower": lower}


def _write(folder: Path, config: Mapping[str, Any]) -> None:
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _deviation(folder: Path, media: Sequence[np.ndarray]) -> float:
    """Of the means that the model's posterior has, around zero mean, over clips of the media that it learned from."""
    vae = load(str(folder))
    count, total, squares = 0, 0.0, 0.0
    for pixels in media:
        length = min(len(pixels), FRAMES)
        for start in sorted({int(place) for place in np.linspace(0, len(pixels) - length, PLACES)}):
            height, width = (edge // SPACE * SPACE for edge in pixels.shape[1:3])
            frames = np.array(pixels[None, start : start + length, :height, :width])
            mean = np.asarray(vae.encode_chunk(jnp.asarray(frames), None)[0].mean, np.float64)
            count, total, squares = count + mean.size, total + mean.sum(), squares + np.square(mean).sum()
    return math.sqrt(squares / count - (total / count) ** 2)
