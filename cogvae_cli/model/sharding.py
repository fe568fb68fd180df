"""Clips on many chips: which part of each array is where. The only file that names an axis of a mesh.

Clips that are computed together are shared out among the chips if each chip gets as many; nothing crosses between them
then. Otherwise the chips share each clip. Its frames are cut into strips of rows (see `strips`), and each chip has an
equal number of neighbouring strips. Where rows don't divide by all chips, the strips' columns are shared out too.
XLA's partitioner adds what crosses between chips: the rows and columns at the edges, and the sums of the norms. Weights
are on all chips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Result = TypeVar("Result")

ROWS, COLUMNS, CLIPS = "rows", "columns", "clips"


def mesh_for(devices: Sequence[Any], size: tuple[int, int], clips: int = 1) -> Mesh | None:
    """All of the devices if that many clips divide among them, else the most that divide latents of that height and
    width evenly, over rows first; None if that is one.
    """
    if len(devices) > 1 and clips % len(devices) == 0:
        return Mesh(np.array(devices), (CLIPS,))
    down, across = max(_fitting(len(devices), size), key=lambda sides: (sides[0] * sides[1], sides[0]))
    count = down * across
    return Mesh(np.array(devices[:count]).reshape(down, across), (ROWS, COLUMNS)) if count > 1 else None


def _fitting(count: int, size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Numbers of rows and columns of devices, together at most `count`, that divide the size."""
    for down in range(1, count + 1):
        for across in range(1, count // down + 1):
            if size[0] % down == 0 and size[1] % across == 0:
                yield down, across


def chips(mesh: Mesh | None) -> int:
    """How many devices compute together."""
    return 1 if mesh is None else int(mesh.size)


def chips_down(mesh: Mesh | None) -> int:
    """How many of them stand below each other: each has whole strips."""
    return 1 if mesh is None else int(mesh.shape.get(ROWS, 1))


def is_by_clip(mesh: Mesh | None) -> bool:
    """Whether each chip computes clips of its own."""
    return mesh is not None and CLIPS in mesh.shape


def shape_of(mesh: Mesh | None) -> str:
    """Chips over rows x chips over columns of a frame: `4x2`."""
    return "1x1" if mesh is None or is_by_clip(mesh) else f"{mesh.shape[ROWS]}x{mesh.shape[COLUMNS]}"


def constrain(tree: Any, mesh: Mesh | None) -> Any:
    """Inside a step: arrays in strips stay with the chips that have their strips."""
    if mesh is None or is_by_clip(mesh):
        return tree
    return jax.lax.with_sharding_constraint(tree, _strips(mesh))  # type: ignore[no-untyped-call]


def by_clip(step: Callable[..., Result], mesh: Mesh | None) -> Callable[..., Result]:
    """A step (weights, chunk, caches) of which each chip runs its own clips, where they are shared out."""
    if not is_by_clip(mesh):
        return step
    whole, shared = PartitionSpec(), PartitionSpec(CLIPS)  # type: ignore[no-untyped-call]
    shared_out: Callable[..., Result] = jax.shard_map(
        step, mesh=mesh, in_specs=(whole, shared, shared), out_specs=shared
    )
    return shared_out


def place_weights(tree: Any, mesh: Mesh | None) -> Any:
    """Weights on every chip; on the default device without a mesh."""
    return jax.device_put(tree) if mesh is None else jax.device_put(tree, _whole(mesh))


def place_chunk(chunk: Any, mesh: Mesh | None) -> Any:
    """A chunk [B T H W C], each chip's part on it; as it is without a mesh."""
    return chunk if mesh is None else jax.device_put(chunk, _frames(mesh))


def place_shapes(arguments: tuple[Any, Any, Any], mesh: Mesh | None) -> tuple[Any, Any, Any]:
    """Weights, chunk and caches as shapes that say where they are, for compiling ahead."""
    if mesh is None:
        return arguments
    weights, chunk, caches = arguments
    put = _put_shape
    return (
        jax.tree.map(lambda leaf: put(leaf, _whole(mesh)), weights),
        put(chunk, _frames(mesh)),
        jax.tree.map(lambda leaf: put(leaf, _strips(mesh)), caches),
    )


def _put_shape(leaf: Any, place: NamedSharding) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)  # type: ignore[no-untyped-call]


def _whole(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]


def _frames(mesh: Mesh) -> NamedSharding:
    """Of arrays [B T H W C]."""
    if is_by_clip(mesh):
        return NamedSharding(mesh, PartitionSpec(CLIPS))  # type: ignore[no-untyped-call]
    return NamedSharding(mesh, PartitionSpec(None, None, ROWS, COLUMNS))  # type: ignore[no-untyped-call]


def _strips(mesh: Mesh) -> NamedSharding:
    """Of arrays [N T R W C], strips outside; those of one chip's clips after the other's."""
    if is_by_clip(mesh):
        return NamedSharding(mesh, PartitionSpec(CLIPS))  # type: ignore[no-untyped-call]
    return NamedSharding(mesh, PartitionSpec(ROWS, None, None, COLUMNS))  # type: ignore[no-untyped-call]
