"""The work of the network: floating-point operations of its convolutions, counted from shapes alone."""

from __future__ import annotations

import jax
import numpy as np

from cogvae_cli.model import weights
from cogvae_cli.model.chunks import Part
from cogvae_cli.model.config import VAEConfig
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.trace import trace_step
from cogvae_cli.model.vae import TIME_LEVELS, Network


def convolution_flops(config: VAEConfig, part: Part, chunk: tuple[int, int, int, int, int]) -> int:
    """Operations (a product and an addition are two) of a clip's first chunk, [B T H W C], by the plain formula.

    What merely repeats is not counted: the norms' 1x1x1 convolutions count at the latents' size, and the upsampling
    ones on the frames before time is doubled. The figure is the same however a convolution is computed.
    """
    network = Network(config, part, Numerics())
    input_of = jax.ShapeDtypeStruct(chunk, np.float32)  # type: ignore[no-untyped-call]
    layers, _ = jax.eval_shape(
        lambda params, x: trace_step(params, x, None, network=network), network.shapes(), input_of
    )
    kernels = {key: shape for key, shape in weights.torch_shapes(config).items() if len(shape) > 1}
    total = 0
    for name, layer in layers.items():
        kernel = kernels.get(f"{name}.conv.weight") or kernels.get(f"{name}.weight")
        if kernel is not None:
            batch, frames, height, width, channels = layer.shape
            if _doubles_time(name, config):
                frames = (frames + 1) // 2
            total += 2 * int(np.prod(kernel[1:])) * batch * frames * height * width * channels
    return total


def _doubles_time(name: str, config: VAEConfig) -> bool:
    """Whether the output of that layer has each frame twice: the decoder's first upsampling layers."""
    part, _, rest = name.partition(".up_blocks.")
    return part == "decoder" and rest.endswith(".upsamplers.0") and int(rest.split(".")[0]) < TIME_LEVELS
