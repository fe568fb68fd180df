"""The note of a release, drawn from CHANGELOG.md: its section as GitHub shows it, with long lines joined.

    python tools/release_notes.py            of the version that cogvae_cli/__init__.py holds
    python tools/release_notes.py 0.1.0      of that one
    git tag -a v0.1.0 -F <(python tools/release_notes.py)

Ends with 1 where the changelog has no section of that version, or one that is still unreleased.
"""

from __future__ import annotations

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
_VERSION = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_HEADING = re.compile(r"^## \[(.+?)\](.*)$")


def version() -> str:
    """The version that the package has."""
    found = _VERSION.search((ROOT / "cogvae_cli" / "__init__.py").read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit("cogvae_cli/__init__.py holds no __version__")
    return found[1]


def section(changelog: str, wanted: str) -> tuple[str, list[str]]:
    """Date and lines of a version's section. Raises SystemExit where there is none, or no date."""
    lines = changelog.splitlines()
    headings = {number: found for number, line in enumerate(lines) if (found := _HEADING.match(line))}
    starts = [number for number, found in headings.items() if found[1] == wanted]
    if not starts:
        unreleased = any(found[1] == "Unreleased" and wanted in found[2] for found in headings.values())
        why = "is still unreleased: date its section" if unreleased else "has no section"
        raise SystemExit(f"{wanted} {why} in CHANGELOG.md")
    date = headings[starts[0]][2].strip(" -")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise SystemExit(f"the section of {wanted} in CHANGELOG.md has no date, but {date!r}")
    end = min((number for number in headings if number > starts[0]), default=len(lines))
    body = [line for line in lines[starts[0] + 1 : end] if not re.match(r"\[.+\]: ", line)]
    return date, body


def joined(lines: list[str]) -> list[str]:
    """Lines that go on with an indent become one: GitHub breaks a release's lines where the text does."""
    made: list[str] = []
    for line in lines:
        if line.startswith("  ") and made and made[-1]:
            made[-1] += " " + line.strip()
        else:
            made.append(line)
    return made


def notes(changelog: str, wanted: str) -> str:
    """The note: a heading with version and date, and what the section says."""
    date, body = section(changelog, wanted)
    return f"# cogvae {wanted} ({date})\n\n" + "\n".join(joined(body)).strip() + "\n"


def main() -> None:
    """Prints the note."""
    wanted = sys.argv[1].removeprefix("v") if len(sys.argv) > 1 else version()
    print(notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), wanted), end="")


if __name__ == "__main__":
    main()
