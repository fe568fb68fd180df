"""The house: which part may import which, how big a file may grow, and what stays out of a light command."""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cogvae_cli

PACKAGE = Path(cogvae_cli.__file__).resolve().parent
ROOT = Path(__file__).resolve().parent.parent

LEAVES = {"errors", "model.config"}
ARROWS = {
    "": {"pipeline", "model"},  # the public API
    "__main__": {"cli"},
    "cli": {"cli", "pipeline"},
    "pipeline": {"pipeline", "model", "io", "report"},
    "report": {"report"},
    "model": {"model"},
    "io": {"io"},
}
"""Which parts a part may import, besides the leaves; the leaves are held to less below."""

COMPUTE = {"jax", "jaxlib", "flax", "optax", "chex", "dm_pix"}
FILES = {"av", "imageio", "imageio_ffmpeg", "safetensors", "huggingface_hub", "tqdm", "typer", "pathlib", "os", "io"}
LIGHT_COMMAND_SECONDS = 0.3


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def python_files() -> list[Path]:
    folders = ("tests", "tools", "examples", "benchmarks", "docs")
    return modules() + sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def dotted(path: Path) -> str:
    """`model.layers` for model/layers.py; the empty string for the package's own __init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    """Every absolute name that a file imports, wherever it stands in it; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inner_imports(path: Path) -> Iterator[str]:
    """What a file imports of our own package, without the package's name."""
    for name in imports(path):
        if name.startswith("cogvae_cli.") and name != "cogvae_cli.__version__":
            yield name.removeprefix("cogvae_cli.")


def part(name: str) -> str:
    return name.split(".")[0]


def is_leaf(name: str) -> bool:
    return any(name == leaf or name.startswith(leaf + ".") for leaf in LEAVES)


def allowed(importer: str, imported: str) -> bool:
    if is_leaf(importer):
        return imported.startswith("errors.") and importer != "errors"
    return is_leaf(imported) or part(imported) in ARROWS[part(importer)]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def run_python(code: str) -> str:
    """Standard output of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_import_points_down() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules()
        for name in inner_imports(path)
        if not allowed(dotted(path), name)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("importer", "imported", "verdict"),
    [
        ("cli.encode", "pipeline.encode", True),
        ("cli.encode", "errors.UsageError", True),
        ("cli.encode", "io.latents", False),
        ("pipeline.encode", "io.latents", True),
        ("pipeline.encode", "cli.main", False),
        ("io.latents", "model.config.ModelSource", True),
        ("io.latents", "model.chunks", False),
        ("model.vae", "model.config", True),
        ("model.vae", "io.weights", False),
        ("model.config", "errors.ModelError", True),
        ("model.config", "model.chunks", False),
        ("errors", "model.config", False),
    ],
)
def test_the_rule_knows_down_from_up(importer: str, imported: str, verdict: bool) -> None:
    assert allowed(importer, imported) is verdict


def test_the_parts_are_those_of_the_design() -> None:
    assert {part(dotted(path)) for path in modules()} <= {*ARROWS, "errors"}


def test_no_module_imports_click() -> None:
    assert not [path.name for path in modules() for name in imports(path) if part(name) == "click"]


def test_io_imports_no_jax_by_itself() -> None:
    paths = (PACKAGE / "io").rglob("*.py")
    assert not [f"{path.name} imports {name}" for path in paths for name in imports(path) if part(name) in COMPUTE]


def test_the_leaves_need_the_standard_library_only() -> None:
    for leaf in ("errors.py", "model/config.py"):
        names = {part(name) for name in imports(PACKAGE / leaf)}
        assert names <= {*sys.stdlib_module_names, "cogvae_cli"}, leaf


def test_io_brings_in_no_jax_through_others() -> None:
    names = [f"cogvae_cli.{dotted(path)}" for path in (PACKAGE / "io").rglob("*.py")]
    code = f"import json, sys, {', '.join(names)}; print(json.dumps(sorted(sys.modules)))"
    assert not COMPUTE & {part(name) for name in json.loads(run_python(code))}


def test_the_model_opens_no_file_and_prints_nothing() -> None:
    for path in (PACKAGE / "model").rglob("*.py"):
        assert not FILES & {part(name) for name in imports(path)}, path.name
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        called = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        assert not called & {"open", "print", "input"}, path.name


HELP = """
import json, sys
from cogvae_cli.cli.main import main
sys.argv = ["cogvae", "--help"]
try:
    main()
except SystemExit as end:
    if end.code:
        raise
"""


def test_help_imports_no_jax_and_no_video_library() -> None:
    output = run_python(HELP + "print(json.dumps(sorted(sys.modules)))")
    loaded = {part(name) for name in json.loads(output.splitlines()[-1])}
    assert not loaded & (COMPUTE | {"av", "numpy", "imageio", "huggingface_hub"})


@pytest.mark.long  # a time, which only an idle machine can tell
def test_help_takes_under_a_third_of_a_second() -> None:
    """Of processor time, and the best of three, so that a busy machine doesn't fail it."""
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run_python(HELP)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < LIGHT_COMMAND_SECONDS


def test_no_file_is_longer_than_350_lines() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert not {name: length for name, length in lengths.items() if length > 350}


def is_command(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A public function of cli/: Typer makes an option of each argument and the help text of the docstring."""
    return path.is_relative_to(PACKAGE / "cli") and not node.name.startswith("_")


def length(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function; of a command only those after its options and its help text."""
    first = node.lineno
    if is_command(path, node):
        first = next((line.lineno for line in node.body[1:]), node.body[0].lineno)
    return (node.end_lineno or first) - first + 1


def test_no_function_is_longer_than_40_lines() -> None:
    assert not [
        f"{path.name}:{node.lineno} {node.name}"
        for path in python_files()
        for node in functions(path)
        if length(path, node) > 40
    ]


def test_no_function_takes_more_than_five_arguments() -> None:
    """Commands and `load` are exempt: they have as many options as a user needs to name."""
    wrong = []
    for path in modules():
        for node in functions(path):
            names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            if len(set(names) - {"self", "cls"}) > 5 and not is_command(path, node) and node.name != "load":
                wrong.append(f"{path.name}:{node.lineno} {node.name}")
    assert not wrong


def test_no_function_hides_its_arguments_in_kwargs() -> None:
    assert not [f"{path.name}:{node.lineno}" for path in modules() for node in functions(path) if node.args.kwarg]


def test_no_module_is_named_for_nothing() -> None:
    names = {path.stem for path in modules()}
    assert not names & {"utils", "util", "helpers", "common", "misc"}
