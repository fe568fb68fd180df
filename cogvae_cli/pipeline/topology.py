"""TPUs that needn't be there: what is known of their chips, and compiling for them ahead of time with libtpu."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cogvae_cli.errors import UsageError

if TYPE_CHECKING:
    from cogvae_cli.model.programs import Place

FLOAT32_PASSES = 6
"""A TPU makes a float32 product of highest precision of so many bfloat16 ones."""


@dataclass(frozen=True)
class Chip:
    """One chip by its data sheet."""

    memory: int
    """Bytes of HBM."""
    tflops: float
    """Peak of bfloat16 products, 10^12 a second."""
    bandwidth: float
    """Of its memory, 10^9 bytes a second."""


CHIPS: Mapping[str, Chip] = {
    "v4": Chip(32 * 2**30, 275, 1228),
    "v5e": Chip(16 * 2**30, 197, 819),
    "v5p": Chip(95 * 2**30, 459, 2765),
    "v6e": Chip(32 * 2**30, 918, 1640),
}
"""By the names that topologies begin with. Source: Google's data sheets of Cloud TPU."""


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as `v5e:2x2`, or of a name alone. Raises UsageError for one that isn't known."""
    name = topology.partition(":")[0]
    if name not in CHIPS or not re.fullmatch(r"\w+(:\d+x\d+(x\d+)?)?", topology):
        raise UsageError(
            f"{topology!r} is no TPU topology that is known here",
            f"write it as v5e:2x2; known are {', '.join(CHIPS)}",
        )
    return CHIPS[name]


def one_chip(topology: str) -> Place:
    """Puts shapes on the first chip of a topology, for compiling ahead of time. Raises as `devices_of`."""
    import jax
    from jax.sharding import SingleDeviceSharding

    place = SingleDeviceSharding(devices_of(topology)[0])

    def put(tree: Any) -> Any:
        def on_chip(leaf: Any) -> Any:
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)  # type: ignore[no-untyped-call]

        return jax.tree.map(on_chip, tree)

    return put


def devices_of(topology: str) -> list[Any]:
    """The chips of a topology, which needn't be there.

    Raises UsageError without libtpu, and for a topology that libtpu doesn't know.
    """
    chip_of(topology)
    # Nothing here touches a chip: neither a lock of libtpu's that another process holds matters, nor a missing TPU.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    from jax.experimental import topologies

    name = topology if ":" in topology else f"{topology}:2x2"
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=name)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"can't compile for {topology}: {reason}", "pip install 'cogvae[tpu]' brings libtpu"
        ) from error
    return list(found.devices)
