"""Building a VAE from a name: find its files, read them, check them against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from cogvae_cli.errors import UsageError
from cogvae_cli.model.config import TileLayout
from cogvae_cli.pipeline.options import TileOptions

if TYPE_CHECKING:
    from cogvae_cli.io.weights import ModelFiles
    from cogvae_cli.model.autoencoder import VAE


def load(
    model: str,
    *,
    dtype: str | None = None,
    precision: str | None = None,
    revision: str | None = None,
    tile: str = "off",
    tile_layout: TileLayout | None = None,
    devices: int | Literal["all"] = 1,
) -> VAE:
    """The VAE of that name, ready to encode and decode.

    model: `tiny`, a preset (`cogvideox-2b`, ...), a Hub id, a folder or a .safetensors file in diffusers' form.
    dtype: compute dtype of both directions, `float32`, `bfloat16` or `float16`. By default the encoder runs in
    float32, and the decoder in bfloat16 on TPU and GPU, in float32 on CPU.
    precision: of float32 products, `highest` (default), `high` or `default`. Only TPUs and GPUs have less than highest.
    revision: commit, tag or branch on the Hub; presets are pinned to a commit.
    tile: size of the tiles that big frames are computed in, WIDTHxHEIGHT in pixels; `off` computes them whole.
    devices: how many chips of this host compute each frame together, as many as divide its latents; `all` of them.
    tile_layout: `uniform` (the default: equal tiles, smooth weights) or `reference` (upstream's grid and blending).
    Raises ModelError for what is no CogVideoX VAE, HubError when the Hub can't serve it, UsageError for bad options.
    """
    from cogvae_cli.io import hub

    if tile == "auto":
        raise UsageError("a model alone can't choose its tiles: the size isn't known", "encode_file and the others do")
    tiling = TileOptions(tile, layout=tile_layout).tiling()
    vae = build(hub.find_model(model, revision=revision), dtype=dtype, precision=precision)
    return vae.on(local_devices(devices)).tiled(tiling)


def build(files: ModelFiles, *, dtype: str | None = None, precision: str | None = None) -> VAE:
    """The VAE in those files; as `load` otherwise."""
    from cogvae_cli.io import weights
    from cogvae_cli.model.autoencoder import VAE
    from cogvae_cli.model.numerics import Numerics

    precision = precision or "highest"
    encode = Numerics(dtype or "float32", precision)
    on_tpu, on_cpu = (platform() == name for name in ("tpu", "cpu"))
    decode = Numerics(dtype or ("float32" if on_cpu else "bfloat16"), precision)
    config = weights.read_config(files)
    tensors = weights.read_tensors(files)
    source = weights.source_of(files, tensors)
    vae = VAE(config, tensors, source, encode=encode, decode=decode)
    return vae.in_strips() if on_tpu else vae


def local_devices(count: int | Literal["all"]) -> list[Any]:
    """Devices of this host. Raises UsageError for more than there are."""
    import jax

    devices: list[Any] = jax.local_devices()
    if count == "all":
        return devices
    if not 1 <= count <= len(devices):
        found = f"{len(devices)} {devices[0].platform} device{'s' if len(devices) > 1 else ''}"
        asked = f"{count} devices were asked for, and this host has {found}"
        raise UsageError(asked, "--devices all takes what there is")
    return devices[:count]


def platform() -> str:
    """`cpu`, `gpu` or `tpu`: of the device that computes. Starts JAX's backend."""
    import jax

    return str(jax.devices()[0].platform)
