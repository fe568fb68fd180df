"""A report's page taken apart: its elements, and what of it could reach out."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "img", "input", "br", "image", "path", "rect"}


@dataclasses.dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    text: str = ""
    """Of itself and of what is in it."""


class Page(HTMLParser):
    """The elements of a page in their order. Raises AssertionError where tags don't match."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(self.source)
        self.close()
        assert not self._open, f"{self._open[-1].name} stays open"

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop().name == tag, self.getpos()

    def handle_data(self, data):
        for element in self._open:
            element.text += data

    def all(self, name: str) -> list[Element]:
        return [element for element in self.elements if element.name == name]

    def with_class(self, name: str) -> list[Element]:
        return [element for element in self.elements if name in (element.attributes.get("class") or "").split()]

    def with_id(self, name: str) -> Element:
        (found,) = [element for element in self.elements if element.attributes.get("id") == name]
        return found

    @property
    def text(self) -> str:
        """What a reader sees, in one line."""
        (body,) = self.all("body")
        return re.sub(r"\s+", " ", body.text)

    def addresses(self) -> list[str]:
        """All that the page names to be fetched or followed."""
        names = ("src", "href", "poster", "srcset", "data", "action", "xlink:href")
        found = [
            element.attributes[name] or "" for element in self.elements for name in names if name in element.attributes
        ]
        return found + re.findall(r"url\(([^)]*)\)|@import", self.source)
