"""A report on disk: the page with its pictures and films, and the figures beside it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from cogvae_cli.pipeline.report_files import ReportFiles

if TYPE_CHECKING:
    from cogvae_cli.pipeline.recording import Recorded
    from cogvae_cli.report.page import Films, FramePictures

EMBEDDED_BYTES = 2_400_000
"""Of both films together, up to which they are put into the page; base64 makes a third more of it."""


def write_report(
    facts: Mapping[str, Any], recorded: Recorded, files: ReportFiles, *, overwrite: bool, inputs: Sequence[Path]
) -> None:
    """Writes the figures, and the page with all that it shows where one is wanted; the page comes last.

    Raises OutputError and OutputExistsError.
    """
    from cogvae_cli.report.heat import heat
    from cogvae_cli.report.kept_frames import amplification
    from cogvae_cli.report.page import Pictures, render

    if files.page is None:
        files.write_figures(facts, overwrite=overwrite, inputs=inputs)
        return
    embedded = sum(film.stat().st_size for film in recorded.films) <= EMBEDDED_BYTES
    factor = amplification(shown for _, shown in recorded.shown.values())
    pictures = Pictures(
        frames=_frames(recorded, factor),
        amplified=factor,
        heat=_image(heat(np.asarray(facts["cells"]["rmse"])), exact=True),
        films=_films(recorded, None if embedded else files.films()),
        figures=files.figures.name,
    )
    text = render(facts, pictures)
    if not embedded:
        files.place_films(recorded.films, overwrite=overwrite, inputs=inputs)
    files.write_figures(facts, overwrite=overwrite, inputs=inputs)
    files.write_page(text, overwrite=overwrite, inputs=inputs)


def _films(recorded: Recorded, linked: Sequence[Path] | None) -> Films | None:
    from cogvae_cli.report.page import Films

    if not recorded.films:
        return None
    if linked is None:
        original, result = (_address(film.read_bytes(), "video/mp4") for film in recorded.films)
    else:
        original, result = (quote(path.name) for path in linked)
    rate: Fraction = recorded.film_rate
    return Films(original, result, float(rate), embedded=linked is None)


def _frames(recorded: Recorded, factor: int) -> dict[str, FramePictures]:
    from cogvae_cli.report.kept_frames import amplified
    from cogvae_cli.report.page import FramePictures

    return {
        name: FramePictures(
            number,
            _image(shown.original),
            _image(shown.result),
            _image(amplified(shown.difference, factor)),
            shown.size,
        )
        for name, (number, shown) in recorded.shown.items()
    }


def _image(pixels: np.ndarray, *, exact: bool = False) -> str:
    from cogvae_cli.io.stills import png_bytes, webp_bytes

    data = png_bytes(pixels) if exact else webp_bytes(pixels)
    return _address(data, "image/png" if data.startswith(b"\x89PNG") else "image/webp")


def _address(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
