"""What results have in common when they are told: a version, and how sizes, rates and models are written."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from cogvae_cli.model.config import ModelSource

if TYPE_CHECKING:
    from cogvae_cli.io.latents_header import TilesHeader
    from cogvae_cli.model.autoencoder import VAE

SCHEMA_VERSION = 1
"""Of every JSON object that the commands print; it grows when a field changes its meaning or goes away."""


def size_text(width: int, height: int) -> str:
    """`480x272`: width first, as everywhere a person sees a size."""
    return f"{width}x{height}"


def rate_text(rate: Fraction) -> str:
    """`24` or `30000/1001`, exact."""
    return str(rate)


def tiles_of(vae: VAE, height: int, width: int) -> TilesHeader | None:
    """The tiles that a model computes frames of that padded size in; None if it computes them whole."""
    from cogvae_cli.io.latents_header import TilesHeader

    grid, tiling = vae.grid(height, width), vae.form.tiling
    if grid is None or tiling is None:
        return None
    overlaps = (tiling.overlap_height, tiling.overlap_width)
    return TilesHeader(tiling.layout, tiling.height, tiling.width, *overlaps, len(grid.rows), len(grid.columns))


def tile_facts(tiles: TilesHeader | None) -> dict[str, Any] | None:
    """Tiles, ready for JSON."""
    return None if tiles is None else dict(vars(tiles))


def tile_text(tiles: TilesHeader | None) -> str:
    """Tiles in words, for a table; empty where frames are computed whole."""
    if tiles is None:
        return ""
    return f", in {tiles.columns}x{tiles.rows} {tiles.layout} tiles of {size_text(tiles.tile_width, tiles.tile_height)}"


def model_facts(source: ModelSource) -> dict[str, Any]:
    """A model's source, ready for JSON."""
    return {
        "name": source.name,
        "revision": source.revision,
        "identity": source.identity,
        "files": dict(source.files),
    }
