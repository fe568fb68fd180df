"""Which model a run uses, told by the caller or by a latents file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cogvae_cli.errors import LatentsError, UsageError
from cogvae_cli.model.config import BUILT_IN, PRESETS, ModelSource
from cogvae_cli.pipeline.importing import UNKNOWN_IDENTITY, check_factor
from cogvae_cli.pipeline.options import RunOptions
from cogvae_cli.pipeline.progress import Progress

if TYPE_CHECKING:
    from cogvae_cli.io.latents_header import LatentsHeader
    from cogvae_cli.model.autoencoder import VAE

TINY_NOTICE = (
    f"model {BUILT_IN} is built in for trying things out; its latents are not CogVideoX's and no diffusion model knows "
    "them"
)


def obtain(model: str | VAE, options: RunOptions, progress: Progress) -> VAE:
    """The model itself, or the one of that name or path, loaded; with the tiles that are asked for.

    A loaded model keeps its own tiles where none are asked for. Raises UsageError for a revision or dtype beside a
    loaded model and for tiles that would give wrong sizes, and what `load` raises.
    """
    tiling = options.tiles.tiling()
    revision, dtype = options.revision, options.dtype
    if not isinstance(model, str):
        if revision is not None or dtype is not None:
            raise UsageError("revision and dtype belong to loading: this model is loaded already")
        vae = model
    else:
        from cogvae_cli.io import hub
        from cogvae_cli.pipeline.compile_cache import keep_programs
        from cogvae_cli.pipeline.loading import build
        from cogvae_cli.pipeline.model_files import transfer_to

        progress.phase(f"loading model {model}")
        hindered = keep_programs()
        if hindered is not None:
            progress.notice(hindered)
        files = hub.find_model(model, revision=revision, transfer=transfer_to(progress))
        vae = build(files, dtype=dtype)
    if vae.source.name == BUILT_IN:
        progress.notice(TINY_NOTICE)
    if options.devices != 1:
        from cogvae_cli.pipeline.loading import local_devices

        vae = vae.on(local_devices(options.devices))
    return vae if tiling is None else vae.tiled(tiling)


def recorded(source: ModelSource) -> str:
    """The name under which the model of a latents file can be found again. Raises LatentsError for a local path."""
    if source.name == BUILT_IN or source.name in PRESETS or "/" in source.name:
        return source.name
    raise LatentsError(
        f"the latents were made by a model from a local path, of which only the name {source.name!r} was recorded",
        f"give it with --model PATH/{source.name}",
    )


def check_same(vae: VAE, header: LatentsHeader, *, force: bool) -> None:
    """Raises LatentsError if the latents were made by other weights, unless `force`.

    Of latents that were imported only the family is known: then the scaling factor must be the same.
    """
    made_by = header.model
    if force or vae.source.identity == made_by.identity:
        return
    if made_by.identity == UNKNOWN_IDENTITY:
        check_factor(header, vae.source.name, vae.scaling_factor, force=False)
        return
    raise LatentsError(
        f"the latents were made by {_named(made_by)}, which is not {_named(vae.source)}",
        "give the model that made them with --model, or decode with the other one all the same with --force",
    )


def _named(source: ModelSource) -> str:
    return f"{source.name} (identity {source.identity[:12]})"
