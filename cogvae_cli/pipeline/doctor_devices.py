"""What can compute: device files and who may open them, what JAX finds, and memory."""

from __future__ import annotations

import grp
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

from cogvae_cli.pipeline.doctor import Check, Surroundings

_GOOGLE = "0x1ae0"  # the maker of TPUs, by the numbers of PCI
_SECONDS = 120  # within which JAX finds its devices; a TPU takes half a minute
_LEAST_FREE = 2_000_000_000
_PROBE = """
import json, jax
devices = jax.devices()
stats = [device.memory_stats() or {} for device in devices]
print("\\n" + json.dumps({
    "platform": devices[0].platform,
    "kinds": [device.device_kind for device in devices],
    "bytes": [stat.get("bytes_limit") for stat in stats],
}))
"""


def device_files(around: Surroundings) -> Iterator[Check]:
    """Files of TPUs and GPUs: whether this user may read and write them."""
    for title, paths in (("TPU files", _tpu_files(around)), ("GPU files", _gpu_files(around))):
        if not paths:
            continue
        closed = [path for path in paths if not os.access(path, os.R_OK | os.W_OK)]
        if closed:
            names = ", ".join(str(path) for path in closed[:4]) + (" …" if len(closed) > 4 else "")
            yield Check(title, "fault", f"no permission for {names}", _cure_for(closed[0]))
        else:
            yield Check(title, "ok", f"{', '.join(path.name for path in paths[:8])}: may be read and written")


def devices(around: Surroundings) -> Iterator[Check]:
    """What JAX computes on. It is asked in a process of its own, for it may hang or crash, and keeps the device."""
    tpu, gpu = _has_tpu(around), bool(_gpu_files(around))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        cure = "end other programs that use the device; on a TPU pod start the command on every host"
        yield Check("devices", "fault", f"JAX found no device within {_SECONDS} s", cure)
        return
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        words = " ".join((lines[-1] if lines else f"exit code {done.returncode}").split())[:300]
        yield Check("devices", "fault", f"JAX starts no device: {words}", _cure_for_jax(words, tpu=tpu, gpu=gpu))
        return
    yield from _found(json.loads(done.stdout.splitlines()[-1]), tpu=tpu, gpu=gpu)


def _found(told: dict[str, Any], *, tpu: bool, gpu: bool) -> Iterator[Check]:
    platform, kinds = told["platform"], told["kinds"]
    limit = told["bytes"][0]
    memory = f", {limit / 1e9:.1f} GB each" if limit else ""
    text = f"{len(kinds)} x {kinds[0]} ({platform}){memory}"
    chosen = os.environ.get("JAX_PLATFORMS")
    missing = "TPU" if tpu else "GPU" if gpu else None
    if platform != "cpu" or missing is None:
        yield Check("devices", "ok", text)
    elif chosen == "cpu":
        yield Check("devices", "note", f"{text}: JAX_PLATFORMS=cpu leaves the {missing} alone", "unset JAX_PLATFORMS")
    else:
        cure = _cure_for_jax("", tpu=tpu, gpu=gpu)
        yield Check("devices", "fault", f"{text}, although this machine has a {missing}", cure)


def _cure_for_jax(words: str, *, tpu: bool, gpu: bool) -> str:
    if "already in use" in words or "lockfile" in words:
        return "end the other program that uses the TPU, or remove /tmp/libtpu_lockfile if there is none"
    asked = os.environ.get("JAX_PLATFORMS", "")
    if (tpu or "tpu" in asked) and util.find_spec("libtpu") is None:
        return "libtpu is not installed: pip install 'cogvae[tpu]'"
    if tpu or "tpu" in asked:
        return f"libtpu {metadata.version('libtpu')} finds no TPU: see the files of TPUs above, or unset JAX_PLATFORMS"
    if gpu or "cuda" in asked:
        return "pip install 'cogvae[cuda]', with a driver that knows CUDA 13"
    return "unset JAX_PLATFORMS, or pip install --upgrade jax jaxlib"


def memory(around: Surroundings) -> Iterator[Check]:
    """Memory of the machine, or what a container may take of it."""
    facts = {}
    for line in (around.processes / "meminfo").read_text(encoding="utf-8").splitlines():
        name, value = line.split(":")
        facts[name] = int(value.split()[0]) * 1024
    total, free, where = facts["MemTotal"], facts["MemAvailable"], ""
    limit = _bytes_in(around.system / "fs/cgroup/memory.max")
    if limit is not None and limit < total:
        used = _bytes_in(around.system / "fs/cgroup/memory.current") or 0
        total, free, where = limit, min(free, limit - used), " in this container"
    text = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB{where}"
    if free < _LEAST_FREE:
        yield Check("memory", "fault", text, "end other programs, or use --tile with small tiles")
    else:
        yield Check("memory", "ok", text)


def _bytes_in(path: Path) -> int | None:
    """The number in a file of the kernel; None where there is none, or no bound."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _has_tpu(around: Surroundings) -> bool:
    return bool(_tpu_files(around))


def _tpu_files(around: Surroundings) -> list[Path]:
    """/dev/accel0 … of older TPUs; the groups in /dev/vfio of newer ones, where a PCI device is Google's."""
    found = sorted(around.devices.glob("accel[0-9]*"))
    makers = (around.system / "bus/pci/devices").glob("*/vendor")
    if any(path.read_text(encoding="ascii").strip() == _GOOGLE for path in makers):
        found += sorted((around.devices / "vfio").glob("*"))
    return found


def _gpu_files(around: Surroundings) -> list[Path]:
    return sorted(around.devices.glob("nvidia[0-9]*")) + sorted(around.devices.glob("nvidiactl"))


def _cure_for(path: Path) -> str:
    """Joining the file's group where that group may use it, else root's help."""
    facts = path.stat()
    group_may = stat.S_IMODE(facts.st_mode) & 0o060 == 0o060
    try:
        group = grp.getgrgid(facts.st_gid).gr_name
    except KeyError:
        group = str(facts.st_gid)
    if group_may and group != "root":
        return f"sudo usermod -aG {group} $USER, then log in again; in a container add --group-add {group}"
    return f"sudo chmod a+rw {path}, or run as root; in a container add --privileged"
