"""Compiled programs kept on disk between runs, so that a second start needs no minutes of compiling.

JAX's own cache, in the folder that COGVAE_CACHE names, by default ~/.cache/cogvae. Its keys hold the program, the
versions of JAX and its compiler, their flags and the device. Code for a CPU holds for CPUs of its features only, which
the keys don't have: those entries lie in a folder named after the features.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cogvae_cli.model.config import VAEConfig
    from cogvae_cli.model.programs import Options

OFF = "off"

_SECONDS = 0.5
"""What compiles faster isn't worth a file."""

NARROW_ON_CPU = {"xla_backend_optimization_level": "1"}
"""How CPUs compile what has narrow layers only: in three quarters of the time, to programs that run as fast, for
nearly all of their time is that of convolutions, which needn't be compiled."""

NARROW = 128
"""Channels below which a network's widest layer is narrow: that of `tiny` is, none of CogVideoX's."""


def cache_folder() -> Path | None:
    """Where cogvae keeps what it can make again; None if COGVAE_CACHE is `off`."""
    chosen = os.environ.get("COGVAE_CACHE", "")
    if chosen == OFF:
        return None
    if chosen:
        return Path(chosen).expanduser()
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home else Path.home() / ".cache") / "cogvae"


def keep_programs() -> str | None:
    """Lets JAX keep what it compiles. Returns what stands in the way, if anything does.

    A folder that was chosen for JAX already (JAX_COMPILATION_CACHE_DIR) stays.
    """
    import jax

    folder = cache_folder()
    if folder is None or jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        return None
    folder = folder / "programs"
    if jax.devices()[0].platform == "cpu":
        folder = folder / f"cpu-{cpu_features()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied", str(folder))
    except OSError as error:
        return f"compiled programs aren't kept: {error}; COGVAE_CACHE names another folder, or {OFF}"
    jax.config.update("jax_compilation_cache_dir", str(folder))  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)  # type: ignore[no-untyped-call]
    return None


def options_for(config: VAEConfig) -> Options | None:
    """Options of XLA's compiler for a network on this machine. What the environment says of the same goes before."""
    import jax

    narrow = max(config.block_out_channels) < NARROW and jax.devices()[0].platform == "cpu"
    chosen = any(option in os.environ.get("XLA_FLAGS", "") for option in NARROW_ON_CPU)
    chosen = chosen or "JAX_DISABLE_MOST_OPTIMIZATIONS" in os.environ
    return NARROW_ON_CPU if narrow and not chosen else None


def cpu_features() -> str:
    """A short name for this processor's instruction set: code compiled for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = [platform.processor()]
    known = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))} or set(lines[:1]))
    return hashlib.sha256("\n".join([platform.machine(), *known]).encode()).hexdigest()[:12]
