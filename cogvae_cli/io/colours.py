"""Colours of video: what a file says about them, and its frames as RGB, converted by the right matrix and range.

Numbers are those of ISO/IEC 23091-2 (H.273), as FFmpeg keeps them.
"""

from __future__ import annotations

import dataclasses

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from cogvae_cli.errors import VideoError
from cogvae_cli.io.read_options import PLAIN, ReadOptions
from cogvae_cli.io.tone_mapping import PEAK, ToneMapper

# Without full chroma interpolation swscale repeats chroma and rounds down: up to 4 levels off, 1.5 on average.
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)
HD_HEIGHT = 720
"""From this height on, untagged video is taken for BT.709; below it, for BT.601."""

_UNSPECIFIED = (0, 2, 3)  # 0 is RGB, which says nothing about a YUV format
_MATRICES = {
    1: ("bt709", Colorspace.ITU709),
    4: ("fcc", Colorspace.FCC),
    5: ("bt470bg", Colorspace.ITU601),
    6: ("smpte170m", Colorspace.ITU601),
    7: ("smpte240m", Colorspace.SMPTE240M),
    9: ("bt2020nc", Colorspace.BT2020),
}
_PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020"}
_PRIMARIES |= {10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213"}
_TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100"}
_TRANSFERS |= {10: "log316", 11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10"}
_TRANSFERS |= {15: "bt2020-12", 16: "smpte2084", 17: "smpte428", 18: "arib-std-b67"}
_HDR = {16: "PQ", 18: "HLG"}
_BT2020_PRIMARIES = 9
_CHOSEN = {"bt601": "smpte170m", "bt709": "bt709", "bt2020": "bt2020nc"}
_AS_PLANES = ("yuv420", "yuv422", "yuv444", "yuv440", "yuv411", "yuvj", "nv12", "p01")
"""Formats of which swscale makes planar RGB with vector instructions, and packed RGB of the same values without."""
_BEHIND = {"black": 0, "white": 255}


@dataclasses.dataclass(frozen=True)
class ColourFacts:
    """What a file says about its colours, by FFmpeg's names; None where it says nothing."""

    matrix: str | None
    """"rgb" for RGB, None for grey; the one that the size rule gave where `assumed`."""
    range: str | None
    """"limited" or "full"."""
    primaries: str | None
    transfer: str | None
    assumed: bool
    """The file names no matrix: the size rule decided."""


def facts_of(frame: av.VideoFrame, options: ReadOptions = PLAIN) -> ColourFacts:
    """Colours of a decoded frame. Raises VideoError for HDR and for matrices that can't be converted."""
    transfer = int(frame.color_trc)
    if transfer in _HDR and options.hdr == "refuse":
        raise VideoError(
            f"it is HDR ({_HDR[transfer]}), and only SDR is read", hint="--hdr tonemap makes SDR of it by tone mapping"
        )
    matrix, assumed = _matrix_of(frame, options)
    return ColourFacts(
        matrix=matrix,
        range="full" if _says_full(frame) else "limited" if int(frame.color_range) == ColorRange.MPEG else None,
        primaries=_name(_PRIMARIES, int(frame.color_primaries)),
        transfer=_name(_TRANSFERS, transfer),
        assumed=assumed,
    )


def hdr_of(frame: av.VideoFrame) -> str | None:
    """`PQ` or `HLG`; None for SDR."""
    return _HDR.get(int(frame.color_trc))


@dataclasses.dataclass(frozen=True)
class _Way:
    """How a frame becomes RGB."""

    transfer: str | None
    """`PQ` or `HLG`, which are tone-mapped."""
    has_alpha: bool
    colorspace: Colorspace | None
    range: ColorRange
    is_planar: bool
    """Whether planes are made first, and then put together: the same values in less than half the time."""

    @classmethod
    def of(cls, frame: av.VideoFrame, options: ReadOptions) -> _Way:
        """Raises VideoError as `facts_of` does."""
        facts_of(frame, options)
        levels = ColorRange.JPEG if _is_full(frame) else ColorRange.MPEG
        is_planar = frame.format.name.startswith(_AS_PLANES)
        return cls(hdr_of(frame), has_alpha(frame), _colorspace_of(frame, options), levels, is_planar)

    @property
    def target(self) -> str:
        """The format that FFmpeg converts to."""
        if self.transfer is not None:
            return "rgb48le"
        if self.has_alpha:
            return "rgba"
        return "gbrp" if self.is_planar else "rgb24"


class RgbConverter:
    """Makes RGB of one decoded frame after the other.

    One converter a stream: PyAV 18 keeps the memory of each that it makes.
    """

    def __init__(self, options: ReadOptions = PLAIN, peak: float | None = None) -> None:
        """`peak`: nits of the brightest point of HDR, where the file says it."""
        self._options, self._peak = options, peak or PEAK
        self._reformatter = VideoReformatter()
        self._ways: dict[tuple[object, ...], _Way] = {}
        self._mapper: tuple[str, ToneMapper] | None = None
        self.transparent = False
        """Whether any frame so far had pixels that aren't opaque."""

    def convert(self, frame: av.VideoFrame) -> np.ndarray:
        """RGB of a decoded frame, uint8 [H W 3]. Raises VideoError as `facts_of` does."""
        way = self._way_of(frame)
        if way.transfer is not None:
            return self._tone_mapper(way.transfer).apply(self._reformat(frame, way))
        if not way.has_alpha:
            return np.ascontiguousarray(self._reformat(frame, way))
        pixels = self._reformat(frame, way)
        if bool((pixels[..., 3] < 255).any()):
            self.transparent = True
            if self._options.alpha != "drop":
                return composited(pixels, _BEHIND[self._options.alpha])
        return np.ascontiguousarray(pixels[..., :3])

    def _way_of(self, frame: av.VideoFrame) -> _Way:
        """The same object for frames that say the same: to find it takes longer than to convert a small frame."""
        numbers = (frame.colorspace, frame.color_range, frame.color_trc)
        said = (frame.format.name, frame.height, *numbers)
        if said not in self._ways:
            self._ways[said] = _Way.of(frame, self._options)
        return self._ways[said]

    def _reformat(self, frame: av.VideoFrame, way: _Way) -> np.ndarray:
        converted = self._reformatter.reformat(
            frame,
            format=way.target,
            src_colorspace=way.colorspace,
            src_color_range=way.range,
            dst_color_range=ColorRange.JPEG,
            interpolation=EXACT,
            threads=1,
        )
        return converted.to_ndarray()

    def _tone_mapper(self, transfer: str) -> ToneMapper:
        if self._mapper is None or self._mapper[0] != transfer:
            self._mapper = (transfer, ToneMapper(transfer, self._peak))
        return self._mapper[1]


def composited(pixels: np.ndarray, behind: int) -> np.ndarray:
    """Straight alpha over a grey level, rounded: uint8 [H W 4] -> [H W 3]."""
    alpha = pixels[..., 3:].astype(np.uint32)
    return ((pixels[..., :3] * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8)


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether its format can hold transparency."""
    return frame.format.has_palette or any(component.is_alpha for component in frame.format.components)


def has_wide_primaries(frame: av.VideoFrame) -> bool:
    """Whether colours are of BT.2020's primaries, which are kept and not converted to BT.709's."""
    return int(frame.color_primaries) == _BT2020_PRIMARIES


def _matrix_of(frame: av.VideoFrame, options: ReadOptions) -> tuple[str | None, bool]:
    """Name of the matrix, and whether the size rule gave it."""
    if _is_rgb(frame):
        return "rgb", False
    if _is_grey(frame):
        return None, False
    if options.colorspace is not None:
        return _CHOSEN[options.colorspace], False
    tag = int(frame.colorspace)
    if tag in _UNSPECIFIED:
        return ("bt709" if frame.height >= HD_HEIGHT else "smpte170m"), True
    if tag not in _MATRICES:
        raise VideoError(f"colour matrix {tag} of H.273 is not supported", hint="convert it to BT.709 first")
    return _MATRICES[tag][0], False


def _colorspace_of(frame: av.VideoFrame, options: ReadOptions) -> Colorspace | None:
    name, _ = _matrix_of(frame, options)
    return next((space for known, space in _MATRICES.values() if known == name), None)


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette or frame.format.name.startswith(("xyz", "bayer"))


def _is_grey(frame: av.VideoFrame) -> bool:
    return frame.format.name.startswith(("gray", "ya8", "ya16", "mono"))


def _says_full(frame: av.VideoFrame) -> bool:
    return int(frame.color_range) == ColorRange.JPEG or frame.format.name.startswith("yuvj")


def _is_full(frame: av.VideoFrame) -> bool:
    """The range to convert by. Untagged grey is full, as FFmpeg writes it; RGB always is."""
    untagged = int(frame.color_range) == ColorRange.UNSPECIFIED
    return _says_full(frame) or _is_rgb(frame) or (_is_grey(frame) and untagged)


def _name(names: dict[int, str], number: int) -> str | None:
    if number in _UNSPECIFIED:
        return None
    return names.get(number, f"number {number}")
