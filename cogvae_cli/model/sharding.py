"""One clip on many chips: which part of each array is where. The only file that names an axis of a mesh.

Frames are cut into strips of rows (see `strips`), and each chip has an equal number of neighbouring strips. XLA's
partitioner adds what crosses between chips: the rows at the edges, and the sums of the norms. Weights are on all chips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

ROWS = "rows"


def mesh_for(devices: Sequence[Any], rows: int) -> Mesh | None:
    """As many of the devices as divide that many rows of latents evenly; None if that is one."""
    count = next(count for count in range(min(len(devices), rows), 0, -1) if rows % count == 0)
    return Mesh(np.array(devices[:count]), (ROWS,)) if count > 1 else None


def chips(mesh: Mesh | None) -> int:
    """How many devices compute together."""
    return 1 if mesh is None else int(mesh.size)


def constrain(tree: Any, mesh: Mesh | None) -> Any:
    """Inside a step: arrays in strips stay with the chips that have their strips."""
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, _spread(mesh, 0))  # type: ignore[no-untyped-call]


def place_weights(tree: Any, mesh: Mesh | None) -> Any:
    """Weights on every chip; on the default device without a mesh."""
    return jax.device_put(tree) if mesh is None else jax.device_put(tree, _whole(mesh))


def place_chunk(chunk: Any, mesh: Mesh | None) -> Any:
    """A chunk [B T H W C], each chip's rows on it; as it is without a mesh."""
    return chunk if mesh is None else jax.device_put(chunk, _spread(mesh, 2))


def place_shapes(arguments: tuple[Any, Any, Any], mesh: Mesh | None) -> tuple[Any, Any, Any]:
    """Weights, chunk and caches as shapes that say where they are, for compiling ahead."""
    if mesh is None:
        return arguments
    weights, chunk, caches = arguments
    put = _put_shape
    return (
        jax.tree.map(lambda leaf: put(leaf, _whole(mesh)), weights),
        put(chunk, _spread(mesh, 2)),
        jax.tree.map(lambda leaf: put(leaf, _spread(mesh, 0)), caches),
    )


def _put_shape(leaf: Any, place: NamedSharding) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)  # type: ignore[no-untyped-call]


def _whole(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]


def _spread(mesh: Mesh, axis: int) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, ROWS))  # type: ignore[no-untyped-call]
