"""What is installed is whole, is this tree, and is what README says how to get."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import cogvae_cli

ASSET_BYTES = 6_000_000
ASSETS = (
    "assets/clips/city_cc0_480x272_49f.mp4",
    "assets/tiny/config.json",
    "assets/tiny/diffusion_pytorch_model.safetensors",
)


def shell_lines(markdown: str) -> list[str]:
    """The lines of all fenced shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", markdown, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def package_files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_the_tested_package_is_this_tree_to_the_last_byte(package: Path, root: Path) -> None:
    ours, tested = package_files(root / "cogvae_cli"), package_files(package)
    assert tested.keys() == ours.keys()
    assert [name for name in ours if tested[name] != ours[name]] == []


@pytest.mark.parametrize("name", [*ASSETS, "py.typed"])
def test_what_is_no_python_file_is_found_as_a_resource(name: str) -> None:
    assert importlib.resources.files(cogvae_cli).joinpath(name).is_file()


def test_the_assets_stay_small(package: Path) -> None:
    sizes = [path.stat().st_size for path in (package / "assets").rglob("*") if path.is_file()]
    assert 0 < sum(sizes) < ASSET_BYTES


def test_the_version_is_written_in_one_place(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "cogvae_cli/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(a|b|rc|dev)\d+)?", cogvae_cli.__version__)
    sources = [path.read_text(encoding="utf-8") for path in (root / "cogvae_cli").rglob("*.py")]
    assert sum(f'"{cogvae_cli.__version__}"' in source for source in sources) == 1


def test_the_changelog_has_a_section_for_the_version(root: Path) -> None:
    headings = re.findall(r"^## .*", (root / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert cogvae_cli.__version__ in headings[0]


def test_the_installed_metadata_agrees_with_the_package() -> None:
    try:
        distribution = importlib.metadata.distribution("cogvae")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the checkout is on PYTHONPATH and nothing is installed")
    assert distribution.version == cogvae_cli.__version__
    assert distribution.metadata["License-Expression"] == "Apache-2.0"
    assert [script.value for script in distribution.entry_points if script.name == "cogvae"] == [
        "cogvae_cli.cli.main:main"
    ]


def test_ci_runs_the_commands_of_readme(root: Path) -> None:
    commands = subprocess.run(
        ["bash", str(root / ".ci" / "run"), "commands"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    shown = shell_lines((root / "README.md").read_text(encoding="utf-8"))
    assert [command for command in commands if command in shown] == commands
    assert [command.split()[-1] for command in commands] == ["roundtrip", ".venv/bin/pytest"]


def test_readme_installs_the_built_package_and_not_the_checkout(root: Path) -> None:
    lines = shell_lines((root / "README.md").read_text(encoding="utf-8"))
    installs = [line for line in lines if "pip install" in line and "-m venv" in line]
    assert len(installs) == 2
    for line in installs:
        assert not {"-e", "--editable", "PYTHONPATH"} & set(line.split())
        assert {"install", "."} <= set(line.split()) or "'.[test]'" in line


def test_the_licence_is_whole(root: Path) -> None:
    text = (root / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert text.rstrip().endswith("limitations under the License.")
