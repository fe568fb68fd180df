"""Axes of latents in other programs: what each of them stores, and moving arrays to [T H W C] and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cogvae_cli.errors import UsageError

CHANNELS = 16
"""Of latents in every released model. Moments have twice as many: the means, then the log-variances."""

_OURS = "THWC"
_USUAL = {4: ("CTHW", "TCHW", "THWC"), 5: ("BCTHW", "BTCHW", "BTHWC")}


@dataclass(frozen=True)
class Form:
    """How a program stores one clip's latents."""

    layout: str
    """Axes in order, of B (one clip), C, T, H and W."""
    moments: bool
    """Whether mean and logvar lie behind one another along C, or values."""
    scaled: bool
    """Whether values were multiplied by the model's scaling factor."""
    array: str | None = None
    """Name of the array, where the file holds a dict."""

    @property
    def channels(self) -> int:
        """Length of C."""
        return 2 * CHANNELS if self.moments else CHANNELS


FORMATS: Mapping[str, Form] = {
    "cogvideo": Form("BCTHW", moments=False, scaled=False),
    "finetrainers": Form("BTCHW", moments=True, scaled=False, array="latents"),
    "cogvideox-factory": Form("CTHW", moments=True, scaled=False),
    "diffusers": Form("BTCHW", moments=False, scaled=True),
}
"""What programs store, by the name that --format takes."""


def axes_of(layout: str) -> str:
    """Checked axes in capitals, F for frames read as T. Raises UsageError unless C, T, H, W and maybe B are named."""
    axes = layout.upper().replace("F", "T")
    if sorted(axes) not in (sorted("CTHW"), sorted("BCTHW")):
        raise UsageError(
            f"{layout!r} is no layout of latents", "name each of C, T, H and W once, and B if there is one: BCTHW"
        )
    return axes


def readings(shape: tuple[int, ...]) -> tuple[str, ...]:
    """The usual layouts that fit a shape: one clip, and 16 or 32 channels."""
    return tuple(
        layout
        for layout in _USUAL.get(len(shape), ())
        if shape[layout.index("C")] in (CHANNELS, 2 * CHANNELS) and (not layout.startswith("B") or shape[0] == 1)
    )


def to_thwc(values: np.ndarray, layout: str) -> np.ndarray:
    """One clip of that layout as [T H W C]; a view."""
    if "B" in layout:
        values = np.take(values, 0, axis=layout.index("B"))
    axes = layout.replace("B", "")
    return values.transpose([axes.index(axis) for axis in _OURS])


def from_thwc(values: np.ndarray, layout: str) -> np.ndarray:
    """[T H W C] as one clip of that layout; a view."""
    axes = layout.replace("B", "")
    moved = values.transpose([_OURS.index(axis) for axis in axes])
    return np.expand_dims(moved, layout.index("B")) if "B" in layout else moved
