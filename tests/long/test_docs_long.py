"""Documented commands that take long, or that the default suite runs with smaller sizes, as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_blocks import Block, blocks
from doc_runs import Place, lighter, place, run_block

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]


def longer() -> list[tuple[Block, str]]:
    """Blocks with what runs them: those marked `run: long`, and those that are made lighter by default."""
    found = [block for block in blocks(ROOT) if block.language == "sh"]
    heavy = [(block, "default") for block in found if block.has("default") and lighter(block.text) != block.text]
    return [(block, "long") for block in found if block.has("long")] + heavy


@pytest.fixture(scope="module")
def at(tmp_path_factory, package):
    with place(tmp_path_factory.mktemp("docs"), package) as found:
        yield found


@pytest.mark.parametrize(("block", "runner"), longer(), ids=lambda one: getattr(one, "name", one))
def test_documented_commands_run_as_they_stand(block: Block, runner: str, at: Place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COGVAE_MODEL", "tiny")
    run_block(block, runner, at, tmp_path)
