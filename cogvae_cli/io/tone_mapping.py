"""HDR into SDR, in linear light: PQ and HLG into nits, the highlights rolled off, BT.2020's colours into BT.709's.

References: SMPTE ST 2084 (PQ), ITU-R BT.2100 (HLG and its OOTF), BT.2390 section 5.4 (the roll-off), BT.2408 (203 nits
is white), BT.2087 (the primaries), BT.1886 (how SDR is shown).
"""

from __future__ import annotations

import numpy as np

WHITE = 203.0
"""Nits of what SDR shows as white."""
PEAK = 1000.0
"""Nits of the brightest point that the roll-off makes room for, unless the file says more; brighter ones are white."""

_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2  # of a display of 1000 nits
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
_LEVELS = 2**16


class ToneMapper:
    """Makes SDR of HDR frames of one transfer, `PQ` or `HLG`; the tables are made once."""

    def __init__(self, transfer: str, peak: float = PEAK) -> None:
        """`peak`: nits, WHITE or more, of the brightest point of PQ. HLG is always shown as on a display of PEAK."""
        codes = np.linspace(0, 1, _LEVELS)
        self._is_hlg = transfer == "HLG"
        linear = hlg_to_scene(codes) if self._is_hlg else pq_to_nits(codes)
        self._linear = linear.astype(np.float32)
        # What a pixel's largest part, in steps of PQ, is multiplied by: parts keep their ratio, so hues stay.
        nits = pq_to_nits(codes)
        self._gain = (rolled_off(nits, PEAK if self._is_hlg else peak) / np.maximum(nits, 1e-6)).astype(np.float32)
        self._gain[0] = self._gain[1]

    def apply(self, frame: np.ndarray) -> np.ndarray:
        """Coded RGB of BT.2020, uint16 [H W 3] from 0 to 65535, into SDR of BT.709, uint8 [H W 3]."""
        light = self._linear[frame]  # [H W 3]
        if self._is_hlg:
            luma = light @ _LUMA_2020
            light *= (PEAK * np.power(np.maximum(luma, 1e-9), _HLG_GAMMA - 1))[..., None]
        largest = np.round(nits_to_pq(light.max(axis=2)) * (_LEVELS - 1)).astype(np.uint16)
        light *= self._gain[largest][..., None]
        shown = np.clip(light @ _TO_709.T / np.float32(WHITE), 0, 1)
        shown = 255 * np.power(shown, np.float32(1 / 2.4))
        return np.asarray(np.round(shown), np.uint8)


def pq_to_nits(codes: np.ndarray) -> np.ndarray:
    """Nits of PQ codes from 0 to 1."""
    power = np.power(codes, 1 / _M2)
    return np.asarray(10_000 * np.power(np.maximum(power - _C1, 0) / (_C2 - _C3 * power), 1 / _M1))


def nits_to_pq(nits: np.ndarray) -> np.ndarray:
    """PQ codes from 0 to 1 of nits."""
    power = np.power(np.clip(nits, 0, 10_000) / 10_000, _M1)
    return np.asarray(np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2))


def hlg_to_scene(codes: np.ndarray) -> np.ndarray:
    """Light of the scene, 0 to 1, of HLG codes from 0 to 1."""
    return np.where(codes <= 0.5, codes * codes / 3, (np.exp((codes - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def rolled_off(nits: np.ndarray, peak: float = PEAK) -> np.ndarray:
    """Nits from 0 to `peak` into 0 to WHITE: unchanged in the dark, a spline above its knee, never falling."""
    top = float(nits_to_pq(np.array(peak)))
    limit = float(nits_to_pq(np.array(WHITE))) / top
    if limit >= 1:
        return np.asarray(np.minimum(nits, WHITE))
    knee = 1.5 * limit - 0.5
    code = np.minimum(nits_to_pq(nits) / top, 1)
    t = (code - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * limit
    return pq_to_nits(np.where(code < knee, code, spline) * top)
