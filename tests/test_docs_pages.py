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
