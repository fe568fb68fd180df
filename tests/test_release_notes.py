"""The note of a release says what CHANGELOG.md says, and only of a version that is dated."""

from __future__ import annotations

import re
import runpy

import pytest

CHANGELOG = """# Changelog

## [Unreleased] - 0.3.0

- Not out yet.

## [0.2.0] - 2026-11-25

### Added

- One thing that takes
  two lines.
- Another.

## [0.1.0] - 2026-11-01

- The first.

[0.2.0]: https://example.org
"""


@pytest.fixture(scope="module")
def tool(root) -> dict:
    return runpy.run_path(str(root / "tools" / "release_notes.py"))


def test_a_note_is_the_section_of_its_version(tool):
    assert tool["notes"](CHANGELOG, "0.2.0") == (
        "# cogvae 0.2.0 (2026-11-25)\n\n### Added\n\n- One thing that takes two lines.\n- Another.\n"
    )
    assert tool["notes"](CHANGELOG, "0.1.0") == "# cogvae 0.1.0 (2026-11-01)\n\n- The first.\n"


@pytest.mark.parametrize(
    ("changelog", "version", "says"),
    [
        (CHANGELOG, "0.3.0", "still unreleased"),
        (CHANGELOG, "0.4.0", "no section"),
        (CHANGELOG.replace("2026-11-25", "soon"), "0.2.0", "no date"),
    ],
)
def test_a_version_that_is_not_out_has_no_note(tool, changelog, version, says):
    with pytest.raises(SystemExit, match=says):
        tool["notes"](changelog, version)


def test_our_own_changelog_becomes_a_note_once_it_is_dated(tool, root):
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = re.sub(r"^## \[Unreleased\] - (.+)$", r"## [\1] - 2026-11-25", text, flags=re.MULTILINE)
    note = tool["notes"](dated, tool["version"]())
    assert note.startswith(f"# cogvae {tool['version']()} (2026-11-25)\n")
    assert all(line.startswith(("- ", "#")) or not line for line in note.splitlines())


def test_the_workflow_checks_the_oldest_and_the_newest_python(root):
    """Those that pyproject.toml names, by the script that everyone else runs."""
    named = re.findall(r"Python :: (3\.\d+)", (root / "pyproject.toml").read_text(encoding="utf-8"))
    workflow = (root / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    tested = re.search(r"python: \[(.+)\]", workflow)[1].replace('"', "").split(", ")
    assert tested == [min(named, key=minor), max(named, key=minor)]
    assert "- run: .ci/run\n" in workflow


def minor(version: str) -> int:
    return int(version.split(".")[1])
