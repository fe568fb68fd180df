"""Every command in README.md and docs/ runs as it stands and ends well, or is marked with what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_blocks import NOT_RUN, RUN, Block, blocks, pages
from doc_runs import Place, lighter, place, run_block, run_python

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = list(blocks(ROOT))
COMMANDS = ("cogvae ", "pip ", "python", "docker ", "gcloud ", "import ", "$ ")


@pytest.fixture(scope="module")
def at(tmp_path_factory, package):
    with place(tmp_path_factory.mktemp("docs"), package) as found:
        yield found


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COGVAE_MODEL", "tiny")
    return tmp_path


def chosen(language: str, runner: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language and block.has(runner)]


def test_every_block_is_run_or_marked():
    """No fence is overlooked, none has a mark that nobody knows, and none hides commands as plain text."""
    fences = sum(page.read_text(encoding="utf-8").count("```") for page in pages(ROOT))
    assert len(BLOCKS) * 2 == fences >= 40
    for block in BLOCKS:
        assert block.language in RUN | NOT_RUN, block.name
        assert block.steps or block.language in NOT_RUN, block.name
        assert block.language in RUN or not block.mark, block.name
        if block.language in NOT_RUN:
            assert not block.text.startswith(COMMANDS), block.name


@pytest.mark.docs
@pytest.mark.parametrize("block", chosen("sh", "default"), ids=lambda block: block.name)
def test_documented_commands_run(block: Block, at: Place, folder: Path):
    run_block(block, "default", at, folder, lighter)
    if "--install-completion" in block.text:
        assert "cogvae" in (Path(at.environment["HOME"]) / ".bashrc").read_text()


@pytest.mark.docs
@pytest.mark.parametrize("page", sorted({block.page for block in chosen("python", "default")}))
def test_documented_python_runs(page: str, at: Place, folder: Path):
    run_python([block for block in chosen("python", "default") if block.page == page], at, folder)


@pytest.mark.parity
@pytest.mark.parametrize("block", chosen("sh", "parity"), ids=lambda block: block.name)
def test_documented_commands_that_need_torch_run(block: Block, at: Place, folder: Path):
    run_block(block, "parity", at, folder)


@pytest.mark.parity
@pytest.mark.parametrize("page", sorted({block.page for block in chosen("python", "parity")}))
def test_documented_python_that_needs_torch_runs(page: str, at: Place, folder: Path):
    """After the page's other blocks, whose names it uses."""
    runners = ("default", "parity")
    run_python(
        [
            block
            for block in BLOCKS
            if block.page == page and block.language == "python" and any(map(block.has, runners))
        ],
        at,
        folder,
    )


@pytest.mark.tpu
@pytest.mark.long  # the full network, which takes minutes a program
@pytest.mark.parametrize("block", chosen("sh", "tpu"), ids=lambda block: block.name)
def test_documented_commands_that_need_libtpu_run(block: Block, at: Place, folder: Path):
    run_block(block, "tpu", at, folder)


@pytest.mark.ray
@pytest.mark.parametrize("block", chosen("sh", "ray"), ids=lambda block: block.name)
def test_documented_commands_that_need_ray_run(block: Block, at: Place, folder: Path):
    run_block(block, "ray", at, folder)
