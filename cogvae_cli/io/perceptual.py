"""VMAF and XPSNR of two videos, frame by frame, by the ffmpeg binary that imageio brings.

Frames go to it as they are, original above result in one picture, through one pipe; nothing is stored on the way.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import imageio_ffmpeg
import numpy as np

LEAST_SIDE = 32
"""Pixels of a side below which VMAF isn't asked for: its pyramid of four scales has nothing left there."""

DEFINITIONS = {
    "vmaf_mean": "mean over frames of VMAF (model vmaf_v0.6.1, 0 to 100, made for 1080p seen from three heights away), "
    "by ffmpeg's libvmaf on BT.709 luma",
    "xpsnr_y": "XPSNR of luma over the clip in dB, by ffmpeg's xpsnr filter on BT.709 4:4:4, weighted by the original",
}

_SECONDS = 20  # within which a healthy ffmpeg tells what it can
_YUV = "scale=out_color_matrix=bt709:out_range=tv,format=yuv444p"
_FRAME = re.compile(r"n: *\d+ +XPSNR y: *(\S+)")
_AVERAGE = re.compile(r"XPSNR average.* y: *(\S+)")


@dataclass(frozen=True)
class Support:
    """Which of the two an ffmpeg can measure."""

    vmaf: bool
    xpsnr: bool
    version: str | None
    """None where there is no ffmpeg."""
    reason: str | None = None
    """Why something is missing."""


@dataclass(frozen=True)
class Perceptual:
    """What ffmpeg measured of a clip. None for what doesn't exist: not measured, or XPSNR without any error."""

    vmaf_mean: float | None = None
    xpsnr_y: float | None = None
    vmaf_by_frame: tuple[float | None, ...] = ()
    xpsnr_y_by_frame: tuple[float | None, ...] = ()
    reason: str | None = None
    """Why VMAF, XPSNR or both were not measured."""


def support() -> Support:
    """What the ffmpeg of imageio (or of IMAGEIO_FFMPEG_EXE) can measure."""
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        told = [_ask(program, option) for option in ("-version", "-filters")]
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return Support(False, False, None, f"there is no ffmpeg that runs ({' '.join(str(error).split())})")
    version = re.match(r"ffmpeg version (\S+)", told[0])
    names = {line.split()[1] for line in told[1].splitlines() if len(line.split()) > 2}
    missing = [name for name in ("libvmaf", "xpsnr") if name not in names]
    number = version[1] if version else "unknown"
    reason = f"ffmpeg {number} has no {' and no '.join(missing)}" if missing else None
    return Support("libvmaf" not in missing, "xpsnr" not in missing, number, reason)


def _ask(program: str, option: str) -> str:
    done = subprocess.run(
        [program, "-hide_banner", option],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=_SECONDS,
        check=True,
    )
    return done.stdout


class PerceptualMeter:
    """Sends the frames of a clip to ffmpeg as they come. A context manager; leaving it ends the process.

    An ffmpeg that breaks off doesn't break the run: `finish` says why nothing was measured.
    """

    def __init__(self, width: int, height: int) -> None:
        self._reason: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="cogvae-")
        self._size = (width, height)
        can = support()
        self._reason = can.reason
        vmaf = can.vmaf and min(width, height) >= LEAST_SIDE
        if can.vmaf and not vmaf:
            self._reason = f"VMAF needs frames of at least {LEAST_SIDE} pixels a side"
        self._wanted = (vmaf, can.xpsnr)
        try:
            if any(self._wanted):
                self._process = self._start(self._command(vmaf, can.xpsnr))
        except OSError as error:
            self._reason = f"ffmpeg doesn't start ({error.strerror})"
        except BaseException:
            self._folder.cleanup()
            raise

    def add(self, original: np.ndarray, result: np.ndarray) -> None:
        """Takes the next frames of both, uint8 [T H W 3]."""
        if self._process is None or self._process.stdin is None:
            return
        stacked = np.concatenate([original, result], axis=1)  # [T 2H W 3]
        with contextlib.suppress(BrokenPipeError):  # it has ended; `finish` reads why
            self._process.stdin.write(stacked.tobytes())

    def finish(self) -> Perceptual:
        """Waits for ffmpeg's end and reads what it found."""
        process, folder = self._process, Path(self._folder.name)
        if process is None:
            return Perceptual(reason=self._reason)
        with contextlib.suppress(BrokenPipeError):
            process.communicate()
        self._process = None
        if process.returncode:
            words = " ".join((folder / "errors.txt").read_text(encoding="utf-8", errors="replace").split())[:200]
            signalled = (
                f"was ended by {signal.Signals(-process.returncode).name}" if process.returncode < 0 else "failed"
            )
            return Perceptual(reason=f"ffmpeg {signalled}{': ' if words else ''}{words}")
        vmaf, xpsnr = self._wanted
        scores = _vmaf(folder / "vmaf.json") if vmaf else ()
        average, by_frame = _xpsnr(folder / "xpsnr.txt") if xpsnr else (None, ())
        return Perceptual(
            vmaf_mean=math.fsum(scores) / len(scores) if scores else None,
            xpsnr_y=average,
            vmaf_by_frame=scores,
            xpsnr_y_by_frame=by_frame,
            reason=self._reason,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._folder.cleanup()

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (Path(self._folder.name) / "errors.txt").open("wb") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=self._folder.name,
                start_new_session=True,  # Ctrl-C is ours to handle
            )

    def _command(self, vmaf: bool, xpsnr: bool) -> list[str]:
        """One picture in, cut into its halves, each in two copies where both are measured."""
        width, height = self._size
        copies = vmaf + xpsnr
        graph, ends = ["[0:v]split[upper][lower]"], []
        for name, source, top in (("r", "upper", 0), ("d", "lower", height)):
            labels = "".join(f"[{name}{index}]" for index in range(copies))
            graph.append(f"[{source}]crop={width}:{height}:0:{top},{_YUV},split={copies}{labels}")
        threads = min(4, os.cpu_count() or 1)
        if vmaf:
            graph.append(f"[d0][r0]libvmaf=log_fmt=json:log_path=vmaf.json:n_threads={threads}[vmaf]")
            ends.append("[vmaf]")
        if xpsnr:
            graph.append(f"[r{copies - 1}][d{copies - 1}]xpsnr=stats_file=xpsnr.txt[xpsnr]")
            ends.append("[xpsnr]")
        picture = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{2 * height}", "-framerate", "25"]
        outputs = [part for end in ends for part in ("-map", end, "-f", "null", "-")]
        program = imageio_ffmpeg.get_ffmpeg_exe()
        start = [program, "-hide_banner", "-loglevel", "error", *picture, "-i", "-"]
        return [*start, "-filter_complex", ";".join(graph), *outputs]


def _vmaf(path: Path) -> tuple[float, ...]:
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return tuple(float(frame["metrics"]["vmaf"]) for frame in told["frames"])


def _xpsnr(path: Path) -> tuple[float | None, tuple[float | None, ...]]:
    """The clip's figure, and that of each frame."""
    text = path.read_text(encoding="utf-8")
    average = _AVERAGE.search(text)
    by_frame = tuple(_finite(found[1]) for found in _FRAME.finditer(text))
    return (_finite(average[1]) if average else None), by_frame


def _finite(text: str) -> float | None:
    """A number, or None for `inf`: no error at all."""
    value = float(text)
    return value if math.isfinite(value) else None
