"""How a model computes frames of any size: its networks, in which strips and which tiles. Shapes only, no weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jax.sharding import Mesh

from cogvae_cli.model.chunks import Part
from cogvae_cli.model.config import SPACE, VAEConfig
from cogvae_cli.model.numerics import Numerics
from cogvae_cli.model.programs import Program
from cogvae_cli.model.sharding import is_by_clip, mesh_for
from cogvae_cli.model.tiling import Grid, Tiling
from cogvae_cli.model.vae import Network


@dataclasses.dataclass(frozen=True)
class Form:
    """The two networks of a VAE, and how they are laid over a frame."""

    encoder: Network
    decoder: Network
    in_strips: bool = False
    """Frames are cut into strips, which is fastest on TPUs."""
    tiling: Tiling | None = None
    """Tiles of big frames; None computes them whole."""
    devices: tuple[Any, ...] = ()
    """The chips that share each frame or tile; none means the default device."""
    batch: int = 1
    """Clips that are computed together."""

    @classmethod
    def of(cls, config: VAEConfig, encode: Numerics, decode: Numerics, *, in_strips: bool = False) -> Form:
        """The form of a model of that config."""
        return cls(Network(config, "encoder", encode), Network(config, "decoder", decode), in_strips)

    def tiled(self, tiling: Tiling | None) -> Form:
        """The same with those tiles."""
        return dataclasses.replace(self, tiling=tiling)

    def network(self, part: Part) -> Network:
        """One direction, for whole frames."""
        return self.encoder if part == "encoder" else self.decoder

    def network_for(self, part: Part, height: int, width: int, clips: int) -> Network:
        """One direction, as it computes frames or tiles of that size in pixels, of that many clips."""
        mesh = self.mesh(height, width, clips)
        network = dataclasses.replace(self.network(part), mesh=mesh)
        whole = not self.in_strips and (mesh is None or is_by_clip(mesh))
        return network if whole else network.in_strips(height)

    def mesh(self, height: int, width: int, clips: int) -> Mesh | None:
        """The chips that share so many clips, or their frames or tiles of that size in pixels."""
        return mesh_for(self.devices, (height // SPACE, width // SPACE), clips) if self.devices else None

    def grid(self, height: int, width: int) -> Grid | None:
        """The tiles that frames of that size in pixels are computed in; None if they are computed whole."""
        return self.tiling.grid(height, width) if self.tiling else None

    def tiles(self, height: int, width: int) -> int:
        """How many those are."""
        grid = self.grid(height, width)
        return 1 if grid is None else len(grid.rows) * len(grid.columns)

    def programs(self, part: Part, size: tuple[int, int], lengths: Sequence[int]) -> list[Program]:
        """What one direction of a clip needs: two programs for whole frames and uniform tiles, more for reference ones.

        size: height and width in pixels; lengths: of the first chunk and of later ones, if there are any.
        """
        grid = self.grid(*size)
        sizes = [size] if grid is None else [(height * SPACE, width * SPACE) for height, width in grid.sizes()]
        return [
            Program(network, length, index > 0, height, width, self.batch, grid is not None)
            for height, width in sizes
            for network in (self.network_for(part, height, width, self.batch),)
            for index, length in enumerate(lengths)
        ]
