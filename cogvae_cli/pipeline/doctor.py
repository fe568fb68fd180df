"""What this machine has and lacks: each thing checked by itself, and each fault with its cure. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cogvae_cli.pipeline.results import SCHEMA_VERSION

Status = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Status
    found: str
    cure: str | None = None
    """What to do about a fault, and about some notes."""


@dataclass(frozen=True)
class Surroundings:
    """Where a machine tells about itself; other folders than these are for tests."""

    devices: Path = Path("/dev")
    system: Path = Path("/sys")
    processes: Path = Path("/proc")


@dataclass(frozen=True)
class Diagnosis:
    """All checks, in the order in which one thing needs another."""

    checks: tuple[Check, ...]

    @property
    def faults(self) -> int:
        return sum(check.status == "fault" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "doctor",
            "faults": self.faults,
            "checks": [asdict(check) for check in self.checks],
        }


def diagnose(around: Surroundings | None = None, tell: Callable[[str], None] | None = None) -> Diagnosis:
    """Looks at versions, devices, memory, codecs, ffmpeg, the Hub and caches. Raises nothing for what is broken.

    `tell` hears what is looked at next: devices and the Hub can take some seconds.
    """
    from cogvae_cli.pipeline import doctor_devices, doctor_software, doctor_storage

    around = around or Surroundings()
    steps: tuple[tuple[str, Callable[[], Iterable[Check]]], ...] = (
        ("versions", doctor_software.versions),
        ("device files", lambda: doctor_devices.device_files(around)),
        ("devices", lambda: doctor_devices.devices(around)),
        ("memory", lambda: doctor_devices.memory(around)),
        ("codecs", doctor_software.codecs),
        ("ffmpeg", doctor_software.ffmpeg),
        ("Hub", doctor_storage.hub),
        ("caches", doctor_storage.caches),
    )
    checks: list[Check] = []
    for name, step in steps:
        if tell is not None:
            tell(f"looking at {name}")
        try:
            checks.extend(step())
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            words = " ".join(str(error).split())
            checks.append(
                Check(name, "fault", f"{type(error).__name__}: {words}", "install cogvae anew, in a new venv")
            )
    return Diagnosis(tuple(checks))
