"""The reference, live: diffusers' AutoencoderKLCogVideoX on the CPU, and hooks on its layers.

The only file that imports torch or diffusers, and only inside functions: neither is a dependency.
Axes: [B T H W C] on our side of every function, torch's [B C T H W] within.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from cogvae_cli.errors import CogvaeError
from cogvae_cli.model.config import VAEConfig

if TYPE_CHECKING:
    from cogvae_cli.model.tiling import Tiling

PACKAGES = ("torch", "diffusers")
"""In the order of importing: diffusers can be imported without torch, but then has no models."""


@dataclass(frozen=True)
class Watch:
    """Who is told what one of the reference's networks takes and what its layers give."""

    part: str
    """`encoder` or `decoder`."""
    names: Sequence[str]
    """Paths of the layers to be told of."""
    start: Callable[[np.ndarray], None]
    """Called with each chunk before it is computed."""
    layer: Callable[[str, np.ndarray], None]
    """Called with each layer's path and output as soon as it is computed."""


def import_reference() -> tuple[ModuleType, ModuleType]:
    """torch and diffusers. Raises CogvaeError if either is missing or broken."""
    try:
        torch, diffusers = (importlib.import_module(name) for name in PACKAGES)
    except ImportError as error:
        absent = f"{error.name} is missing" if error.name in PACKAGES else f"they can't be imported ({error})"
        raise CogvaeError(
            f"verify compares with torch and diffusers, and {absent}", "pip install 'torch' 'diffusers'"
        ) from error
    return torch, diffusers


def versions() -> dict[str, str]:
    """Releases of the packages that the reference is made of."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


class Reference:
    """diffusers' VAE with the given weights, run through its public methods.

    It computes, takes and gives `dtype`, float32 or float64, whatever the weights are stored in.
    Raises CogvaeError if torch or diffusers is missing.
    """

    def __init__(
        self, config: VAEConfig, tensors: Mapping[str, np.ndarray], dtype: str, tiling: Tiling | None = None
    ) -> None:
        self._torch, diffusers = import_reference()
        self._dtype = dtype
        values = {name: value for name, value in config.to_diffusers().items() if not name.startswith("_")}
        with self._torch.device("meta"):  # no time for random weights, no memory for two sets
            self._vae = diffusers.AutoencoderKLCogVideoX(**values).eval()
        state = {key: self._torch.from_numpy(np.require(value, dtype, ["C", "W"])) for key, value in tensors.items()}
        self._vae.load_state_dict(state, strict=True, assign=True)
        if tiling is not None:
            self._vae.enable_tiling(
                tile_sample_min_height=tiling.height,
                tile_sample_min_width=tiling.width,
                tile_overlap_factor_height=tiling.overlap_height / tiling.height,
                tile_overlap_factor_width=tiling.overlap_width / tiling.width,
            )

    def encode(self, frames: np.ndarray, watch: Watch) -> tuple[np.ndarray, np.ndarray]:
        """Frames [B T H W 3] in [-1, 1] to mean and log-variance [B t h w z]."""
        with self._torch.no_grad(), self._hooks(watch):
            posterior = self._vae.encode(self._to_torch(frames)).latent_dist
        return _from_torch(posterior.mean), _from_torch(posterior.logvar)

    def decode(self, latents: np.ndarray, watch: Watch) -> np.ndarray:
        """Unscaled latents [B t h w z] to frames [B T H W 3]."""
        with self._torch.no_grad(), self._hooks(watch):
            return _from_torch(self._vae.decode(self._to_torch(latents)).sample)

    @contextmanager
    def _hooks(self, watch: Watch) -> Iterator[None]:
        def before(module: Any, inputs: tuple[Any, ...]) -> None:
            watch.start(_from_torch(inputs[0]))

        def after(name: str) -> Callable[[Any, Any, Any], None]:
            def tell(module: Any, inputs: Any, output: Any) -> None:
                watch.layer(name, _from_torch(output[0] if isinstance(output, tuple) else output))

            return tell

        handles = [self._vae.get_submodule(watch.part).register_forward_pre_hook(before)]
        try:
            handles += [self._vae.get_submodule(name).register_forward_hook(after(name)) for name in watch.names]
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _to_torch(self, array: np.ndarray) -> Any:
        return self._torch.from_numpy(np.ascontiguousarray(array, self._dtype)).permute(0, 4, 1, 2, 3)


def _from_torch(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.permute(0, 2, 3, 4, 1).contiguous().numpy()
    return array
