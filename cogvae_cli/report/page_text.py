"""Numbers as people read them."""

from __future__ import annotations

DASH = "\N{EN DASH}"


def number_text(value: float | None, digits: int = 2) -> str:
    """Fixed digits; a dash where there is no value."""
    return DASH if value is None else f"{value:,.{digits}f}"


def bytes_text(count: int | None) -> str:
    """`812 B`, `13.4 kB`: powers of 1000; a dash where there is no value."""
    if count is None:
        return DASH
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def seconds_text(value: float) -> str:
    """`0.04 s`, `12.3 s`, `3 min 20 s`."""
    if value < 100:
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def listed(parts: list[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
