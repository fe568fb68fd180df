"""Bounds that a measured quality has to reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cogvae_cli.errors import CogvaeError, QualityError

_METRICS = {"psnr": ("psnr_mean", "PSNR", " dB"), "ssim": ("ssim_mean", "SSIM", ""), "vmaf": ("vmaf_mean", "VMAF", "")}


@dataclass(frozen=True)
class Gates:
    """Least figures of a clip. None: any will do."""

    psnr: float | None = None
    """dB, of the mean over frames."""
    ssim: float | None = None
    vmaf: float | None = None

    def check_possible(self) -> None:
        """Raises CogvaeError where VMAF is asked for and can't be measured here, before any work is done."""
        from cogvae_cli.io.perceptual import support

        if self.vmaf is not None and not (can := support()).vmaf:
            raise CogvaeError(
                f"VMAF can't be measured: {can.reason}",
                "install imageio[ffmpeg], or let IMAGEIO_FFMPEG_EXE name an ffmpeg with libvmaf",
            )

    def verdicts(self, quality: Mapping[str, Any]) -> tuple[Verdict, ...]:
        """What becomes of each bound that is set. A figure that doesn't exist misses it, but identical videos pass."""
        found = []
        for name, (metric, title, unit) in _METRICS.items():
            minimum = getattr(self, name)
            if minimum is not None:
                value = quality[metric]
                reached = value >= minimum if value is not None else bool(quality["identical"])
                found.append(Verdict(name, metric, title, unit, minimum, value, reached))
        return tuple(found)


@dataclass(frozen=True)
class Verdict:
    """One bound, the figure it was set for, and whether it was reached."""

    name: str
    metric: str
    title: str
    unit: str
    minimum: float
    value: float | None
    passed: bool

    def as_dict(self) -> dict[str, Any]:
        return {"metric": self.metric, "minimum": self.minimum, "value": self.value, "passed": self.passed}

    def text(self) -> str:
        """`PSNR is 20.01 dB, below the 25 dB of --min-psnr`."""
        what = f"is {self.value:.4g}{self.unit}" if self.value is not None else "could not be measured"
        return f"{self.title} {what}, below the {self.minimum:g}{self.unit} of --min-{self.name}"


def check_passed(verdicts: tuple[Verdict, ...]) -> None:
    """Raises QualityError naming every bound that was missed."""
    missed = [verdict.text() for verdict in verdicts if not verdict.passed]
    if missed:
        raise QualityError("; ".join(missed), "the result above is complete; the report shows where quality is lost")
