"""The page of a report: facts and pictures into one HTML text that needs nothing else."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cogvae_cli.report.page_text import bytes_text, number_text, seconds_text
from cogvae_cli.report.page_view import view

MOST_FRAMES = 20_000
"""Frames whose figures the page can tell one by one."""


@dataclass(frozen=True)
class FramePictures:
    """One frame: its number, and addresses (data:) of its pictures."""

    number: int
    original: str
    result: str
    difference: str
    size: tuple[int, int]
    """Width and height of the pictures."""


@dataclass(frozen=True)
class Films:
    """Addresses of the two films: data:, or relative to the page."""

    original: str
    result: str
    rate: float
    embedded: bool


@dataclass(frozen=True)
class Pictures:
    """What a page shows besides figures."""

    frames: Mapping[str, FramePictures]
    """`best`, `median` and `worst`, as far as there are so many frames."""
    amplified: int
    """How many times brighter the differences are than they were."""
    heat: str
    """Address of the map of errors, one pixel a square."""
    films: Films | None
    figures: str
    """Name of the JSON file beside the page."""


def render(facts: Mapping[str, Any], pictures: Pictures) -> str:
    """The page of a round trip or a comparison; `facts` is the JSON of its report."""
    script = _file("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            facts=facts,
            view=view(facts),
            pictures=pictures,
            style=Markup(_file("report.css")),
            script=Markup(script),
            script_hash=digest,
            frame_figures=_frame_figures(facts),
        )
    )


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cogvae_cli.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["bytes"] = bytes_text
    environment.filters["number"] = number_text
    environment.filters["seconds"] = seconds_text
    return environment


def _file(name: str) -> str:
    return (resources.files("cogvae_cli.report") / "templates" / name).read_text(encoding="utf-8")


def _frame_figures(facts: Mapping[str, Any]) -> Markup:
    """PSNR and SSIM by frame for the script, as JSON that no markup can end."""
    by_frame = facts["by_frame"]
    rows = {name: by_frame[name] for name in ("psnr", "ssim")}
    if facts["frames"] > MOST_FRAMES:
        rows = {name: [] for name in rows}
    short = {name: [None if value is None else round(value, 4) for value in values] for name, values in rows.items()}
    return Markup(json.dumps(short, allow_nan=False).replace("<", "\\u003c"))
