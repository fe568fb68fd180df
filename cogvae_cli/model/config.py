"""What a CogVideoX VAE is made of: the network's shape, the public models, and where a model came from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from cogvae_cli.errors import ModelError

SPACE = 8
"""Pixels of a side that become one latent: three halvings in space."""

TIME = 4
"""Frames that become one latent frame: two halvings in time."""

TileLayout = Literal["uniform", "reference"]
"""How tiles lie on a frame and are blended."""

_CLASS = "AutoencoderKLCogVideoX"
_FLOATS = ("norm_eps", "scaling_factor")
_COUNTS = (
    "in_channels",
    "out_channels",
    "latent_channels",
    "layers_per_block",
    "norm_num_groups",
    "sample_height",
    "sample_width",
)
_BLOCKS = {"down_block_types": "CogVideoXDownBlock3D", "up_block_types": "CogVideoXUpBlock3D"}


@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """Shape of the network and the facts about its latents.

    Defaults are those of the released models (215,583,907 parameters).
    Reference: diffusers AutoencoderKLCogVideoX; fields that it accepts and never reads are not kept.
    """

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 16
    block_out_channels: tuple[int, ...] = (128, 256, 256, 512)
    layers_per_block: int = 3
    norm_num_groups: int = 32
    norm_eps: float = 1e-6
    """Reaches only the encoder's resnets; every other norm uses 1e-6 whatever this says, as upstream."""
    scaling_factor: float = 1.15258426
    """Latents times this have about unit deviation. Never applied inside the model."""
    invert_scale_latents: bool = False
    """Only for the image that conditions image-to-video of CogVideoX 1.5. Never for video latents."""
    sample_height: int = 480
    sample_width: int = 720

    def __post_init__(self) -> None:
        _check_values(vars(self))

    @classmethod
    def from_diffusers(cls, config: Mapping[str, Any], origin: str = "config.json") -> VAEConfig:
        """Reads diffusers' `vae/config.json`. Raises ModelError for what upstream can't run or isn't this VAE."""
        _check_supported(config, origin)
        names = {field.name for field in dataclasses.fields(cls)}
        values = {name: value for name, value in config.items() if name in names}
        if isinstance(values.get("block_out_channels"), list):
            values["block_out_channels"] = tuple(values["block_out_channels"])
        try:
            _check_values(dataclasses.asdict(cls()) | values)
            floats = {name: float(values[name]) for name in _FLOATS if name in values}
            return cls(**(values | floats))
        except ValueError as error:
            raise ModelError(f"{origin}: {error}") from error

    def to_diffusers(self) -> dict[str, Any]:
        """The config in diffusers' form, as `vae/config.json` holds it."""
        blocks = len(self.block_out_channels)
        values = dataclasses.asdict(self) | {"block_out_channels": list(self.block_out_channels)}
        kinds = {name: [kind] * blocks for name, kind in _BLOCKS.items()}
        return {"_class_name": _CLASS, "act_fn": "silu", "temporal_compression_ratio": TIME} | kinds | values


def _check_values(config: Mapping[str, Any]) -> None:
    """Raises ValueError for a value of the wrong type or out of range."""
    for field in _COUNTS:
        _check_count(field, config[field])
    widths = config["block_out_channels"]
    if not isinstance(widths, tuple) or len(widths) != 4:
        raise ValueError(f"block_out_channels is {widths!r}, not four numbers (8x in space, 4x in time)")
    for width in widths:
        _check_count("block_out_channels", width)
        if width % config["norm_num_groups"]:
            raise ValueError(f"{width} channels can't be split into {config['norm_num_groups']} norm groups")
    for field in _FLOATS:
        value = config[field]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"{field} is {value!r}, not a positive number")
    if not isinstance(config["invert_scale_latents"], bool):
        raise ValueError(f"invert_scale_latents is {config['invert_scale_latents']!r}, not true or false")
    if config["in_channels"] != 3 or config["out_channels"] != 3:
        raise ValueError(f"{config['in_channels']} channels in, {config['out_channels']} out: a video has 3")


def _check_count(field: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65536:
        raise ValueError(f"{field} holds {value!r}, not a whole number from 1 to 65536")


def _check_supported(config: Mapping[str, Any], origin: str) -> None:
    name = config.get("_class_name", _CLASS)
    if name != _CLASS:
        raise ModelError(
            f"{origin} describes {name}, not {_CLASS}",
            "give the vae/ folder of a CogVideoX model",
        )
    for field, kind in _BLOCKS.items():
        odd = set(config.get(field) or [kind]) - {kind}
        if odd:
            raise ModelError(f"{origin}: {field} has {', '.join(sorted(map(str, odd)))}; only {kind} exists upstream")
    for field in ("use_quant_conv", "use_post_quant_conv"):
        if config.get(field):
            raise ModelError(f"{origin}: {field} is true; upstream builds it with wrong channels, so it can't run")
    ratio = config.get("temporal_compression_ratio", TIME)
    if ratio != TIME:
        raise ModelError(f"{origin}: temporal_compression_ratio is {ratio!r}; the chunks of 8 and 2 need {TIME}")
    activation = config.get("act_fn", "silu")
    if activation not in ("silu", "swish"):
        raise ModelError(f"{origin}: act_fn is {activation!r}; a CogVideoX VAE has silu")


@dataclasses.dataclass(frozen=True)
class Preset:
    """A public model: where it lives on the Hub, the commit that is pinned, and its scaling factor."""

    name: str
    repo: str
    revision: str | None
    """40 hex digits; None where no commit is known: the user must name one."""
    scaling_factor: float
    invert_scale_latents: bool = False
    weights_sha256: str | None = None
    """sha256 of vae/diffusion_pytorch_model.safetensors at that commit, where it is known."""


PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("cogvideox-2b", "zai-org/CogVideoX-2b", "1137dacfc2c9c012bed6a0793f4ecf2ca8e7ba01", 1.15258426),
        Preset("cogvideox-5b", "zai-org/CogVideoX-5b", "8d6ea3f817438460b25595a120f109b88d5fdfad", 0.7),
        Preset(
            "cogvideox-5b-i2v",
            "zai-org/CogVideoX-5b-I2V",
            "a6f0f4858a8395e7429d82493864ce92bf73af11",
            0.7,
            weights_sha256="a410e48d988c8224cef392b68db0654485cfd41f345f4a3a81d3e6b765bb995e",
        ),
        Preset("cogvideox1.5-5b", "zai-org/CogVideoX1.5-5B", "fdc5267c90b5c06492985b966e43aae984e189e0", 0.7, True),
        Preset("cogvideox1.5-5b-i2v", "zai-org/CogVideoX1.5-5B-I2V", None, 0.7, True),
    )
}

BUILT_IN = "tiny"
"""Name of the model that ships with the package."""

DEFAULT_MODEL = "cogvideox-2b"


@dataclasses.dataclass(frozen=True)
class ModelSource:
    """Which weights a model holds, so that latents can say what made them."""

    name: str
    """`tiny`, a preset, a Hub id, or the last part of a local path. Never an absolute path."""
    revision: str | None
    """Commit on the Hub; None for local files and `tiny`."""
    identity: str
    """sha256 over the sorted (key, shape, float32 bytes) of all tensors: equal for equal numbers."""
    files: tuple[tuple[str, str], ...]
    """(file name, sha256 of the file), sorted."""
