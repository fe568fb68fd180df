"""What a run ran on: versions, the device, and the memory that was used."""

from __future__ import annotations

import platform
import resource
from importlib import metadata
from typing import Any

_PACKAGES = ("jax", "jaxlib", "flax", "numpy", "av")


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    from cogvae_cli import __version__

    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"cogvae": __version__} | found | {"python": platform.python_version()}


def device_facts() -> dict[str, Any]:
    """The devices that compute, as JAX names them, and the system around them."""
    import jax

    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "kind": str(devices[0].device_kind),
        "count": len(devices),
        "system": f"{platform.system()} {platform.machine()}",
    }


def memory_facts() -> dict[str, int | None]:
    """Bytes at the highest point so far: of this process, and of the first device where it tells."""
    import jax

    told = jax.devices()[0].memory_stats() or {}
    peak = told.get("peak_bytes_in_use")
    return {
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "device_peak_bytes": None if peak is None else int(peak),
    }
