"""What every test stands on: which package is tested, checked shapes, no network, no environment of the user's."""

from __future__ import annotations

import atexit
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
MARKED_FOLDERS = ("parity", "tpu", "ray", "stores", "browser", "image", "long")
ON_PATH = "checkout, not installed"
LOOPBACK = ("127.", "::1", "localhost")

_hub_home = tempfile.mkdtemp(prefix="cogvae-tests-")
atexit.register(shutil.rmtree, _hub_home, ignore_errors=True)


HEAVY = ("test_goldens.py", "test_autoencoder.py", "test_main_job.py", "test_encode_variants.py", "test_tiling.py")
"""Files that compile most. They go first, so that no process is left with one of them at the end."""


def _compile_quickly(markers: str) -> None:
    """Plainer programs, which compile in a sixth of the time. Not where speed or parity counts."""
    if "XLA_FLAGS" in os.environ or re.search(r"(?<!not )\b(parity|tpu|long)\b", markers):
        return
    flags = ["--xla_backend_optimization_level=0", "--xla_cpu_opt_preset=CPU_OPT_PRESET_FAST_COMPILE"]
    if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11):  # later ones have no others
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join(flags)


def _set_environment(kind: str) -> None:
    """The same environment everywhere, for this process and for the commands that tests start."""
    for name in [name for name in os.environ if name.startswith(("COGVAE_", "HF_", "HUGGING_FACE_"))]:
        if name not in ("COGVAE_TEST_INSTALLED", "COGVAE_TEST_CACHE"):
            del os.environ[name]
    # One for all processes of a run, new for each run: what one test compiled another needn't.
    os.environ["COGVAE_CACHE"] = os.environ.setdefault("COGVAE_TEST_CACHE", _hub_home)
    os.environ["HF_HOME"] = _hub_home  # an empty Hub cache, and no token
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["PYTHONSAFEPATH"] = "1"  # or a Python that a test starts would import from its current folder
    if kind == ON_PATH:
        os.environ["PYTHONPATH"] = str(ROOT)


def _check_shapes() -> None:
    """Types and shapes in model/ are checked at run time, and jax refuses to promote ranks or dtypes by itself."""
    import jax
    from jaxtyping import install_import_hook

    early = [name for name in sys.modules if name.startswith("cogvae_cli.model.")]
    if early:
        raise pytest.UsageError(f"{', '.join(early)} came in before the hook that checks its shapes")
    importlib.import_module("cogvae_cli.model.config")  # unhooked: it has no arrays and refuses wrong types in words
    install_import_hook("cogvae_cli.model", "beartype.beartype")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_numpy_dtype_promotion", "strict")


def _forbid_network() -> None:
    """Fails a connection to any other machine, as if there were no network."""

    def refuse(event: str, args: tuple[object, ...]) -> None:
        if event == "socket.connect" and isinstance(args[1], tuple):
            host = str(args[1][0])
        elif event == "socket.getaddrinfo":
            host = str(args[0])
        else:
            return
        if not host.startswith(LOOPBACK):
            raise OSError(f"tests have no network, and this one asked for {host}")

    sys.addaudithook(refuse)


def _tested_package() -> tuple[Path, str]:
    """Folder of the package that the tests import, and how it got there."""
    spec = importlib.util.find_spec("cogvae_cli")
    if spec is None or spec.origin is None:
        raise pytest.UsageError("cogvae is not installed, and the checkout is not on PYTHONPATH")
    folder = Path(spec.origin).resolve().parent
    if folder != ROOT / "cogvae_cli":
        return folder, "installed"
    try:
        direct = importlib.metadata.distribution("cogvae").read_text("direct_url.json") or "{}"
    except importlib.metadata.PackageNotFoundError:
        return folder, ON_PATH
    if os.environ.get("COGVAE_TEST_INSTALLED") == "0":  # tools/mutants.py means its own copies
        return folder, ON_PATH
    if json.loads(direct).get("dir_info", {}).get("editable"):
        return folder, "checkout, installed as editable"
    raise pytest.UsageError(
        f"{folder} hides the installed package: take it off PYTHONPATH, or run pytest, not python -m"
    )


def _hear_interrupts() -> None:
    """A shell's background job ignores Ctrl-C, and so would the commands that it is tried on."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    _hear_interrupts()
    folder, kind = _tested_package()
    if kind != "installed" and os.environ.get("COGVAE_TEST_INSTALLED") == "1":
        raise pytest.UsageError(f"COGVAE_TEST_INSTALLED=1 asks for the installed package, but {folder} is the {kind}")
    _set_environment(kind)
    _compile_quickly(config.option.markexpr)
    _check_shapes()
    _forbid_network()


def pytest_report_header(config: pytest.Config) -> str:
    folder, kind = _tested_package()
    return f"cogvae: {folder} ({kind})"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A folder named for a mark is imported only when -m asks for that mark: its modules need more than we install."""
    if collection_path.parent != ROOT / "tests" or collection_path.name not in MARKED_FOLDERS:
        return None
    wanted = re.findall(r"(?<!not )\b\w+", config.option.markexpr)
    return None if collection_path.name in wanted else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file run in one process, unless they name a group of their own; the longest files go first."""
    items.sort(key=lambda item: HEAVY.index(item.path.name) if item.path.name in HEAVY else len(HEAVY))
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture
def rng() -> np.random.Generator:
    """Numbers that are the same in every run."""
    return np.random.default_rng(20)


@pytest.fixture(scope="session")
def package() -> Path:
    """Folder of the package under test."""
    return _tested_package()[0]


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder that holds README.md and tests/."""
    return ROOT
