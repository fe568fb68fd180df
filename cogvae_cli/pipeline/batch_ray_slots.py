"""How many actors a Ray cluster has room for, and what each of them reserves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cogvae_cli.errors import CogvaeError

Devices = int | Literal["all"]


@dataclass(frozen=True)
class Slots:
    """Room for actors that are all alike."""

    count: int
    needs: dict[str, Any]
    """What each reserves, as Ray's options of an actor."""
    text: str
    """The same in words."""


def slots_of(devices: Devices, workers: int | None) -> Slots:
    """Of the cluster that this process is connected to: its TPU chips, else its GPUs, else its CPUs.

    `workers`: how many actors are wanted, whatever there is room for. Raises CogvaeError as `slots_among`.
    """
    import ray

    return slots_among([node["Resources"] for node in ray.nodes() if node["Alive"]], devices, workers)


def slots_among(nodes: Sequence[dict[str, float]], devices: Devices, workers: int | None) -> Slots:
    """Slots of nodes with those resources. An actor takes `devices` chips or GPUs, or all of a node; or one CPU.

    Raises CogvaeError for nodes of which an actor would take all, and that have different numbers of them.
    """
    for kind in ("TPU", "GPU"):
        held = [int(node.get(kind, 0)) for node in nodes if node.get(kind, 0) >= 1]
        if not held:
            continue
        if devices == "all" and len(set(held)) > 1:
            raise CogvaeError(
                f"nodes of the cluster have {min(held)} to {max(held)} {kind}s, and --devices all takes all of a node",
                "give a number with --devices",
            )
        each = held[0] if devices == "all" else devices
        count = sum(one // each for one in held)
        needs = {"num_cpus": 1, "resources": {"TPU": each}} if kind == "TPU" else {"num_cpus": 1, "num_gpus": each}
        return Slots(count if workers is None else workers, needs, f"1 CPU and {each} {kind}")
    count = sum(int(node.get("CPU", 0)) for node in nodes)
    return Slots(count if workers is None else workers, {"num_cpus": 1}, "1 CPU")
