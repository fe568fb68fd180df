"""Pages of docs/ that are written by a tool, or speak of files, say what is there."""

from __future__ import annotations

import re
import runpy

import pytest

from cogvae_cli.cli.main import main

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


@pytest.fixture(scope="module")
def tool(root) -> dict:
    return runpy.run_path(str(root / "tools" / "write_commands.py"))


def test_the_page_of_commands_is_what_the_commands_declare(tool, monkeypatch):
    """Whatever the terminal's width. `python tools/write_commands.py --write` writes it anew."""
    monkeypatch.setenv("COLUMNS", "40")
    assert tool["PAGE"].read_text(encoding="utf-8") == tool["page"]()


def test_the_page_and_the_help_name_the_same_options(tool, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    for path, _ in tool["commands"]():
        assert main([*path.split()[1:], "--help"]) == 0
        told = set(OPTION.findall(capsys.readouterr().out)) - {"--help"}
        section = tool["page"]().partition(f"## {path}\n")[2].partition("\n## ")[0]
        assert set(OPTION.findall(section)) == told, path


def test_every_file_that_the_architecture_names_exists(root):
    page = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:cogvae_cli|tests|tools)/[\w./]*", page))
    assert len(named) > 40
    assert not [name for name in named if not (root / name.rstrip(".")).exists()]


def test_links_between_pages_lead_somewhere(root):
    """To a file that is there, and to a heading that it has."""
    for page in [
        root / "README.md",
        root / "CONTRIBUTING.md",
        root / "examples" / "README.md",
        *root.glob("docs/*.md"),
    ]:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" in target:
                continue
            name, _, heading = target.partition("#")
            file = page.parent / name if name else page
            assert file.exists(), f"{page.name}: {target}"
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if heading else []
            anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
            assert not heading or heading in anchors, f"{page.name}: {target}"


def test_the_index_leads_to_every_page(root):
    index = (root / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in root.glob("docs/*.md")} - {"README.md"}
    assert pages <= set(re.findall(r"\]\(([\w-]+\.md)", index))
