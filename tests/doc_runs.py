"""Runs the commands of a page in a folder that holds the files which they name."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from doc_blocks import Block
from foreign_samples import laid_out, pt
from hub_server import Repository, serving
from media import write_numbered

from cogvae_cli.cli.main import main
from cogvae_cli.model.config import PRESETS

ENDS = {"doctor": (0, 1), "--min-": (0, 5), "--tolerance": (0, 5)}
"""Commands that may end otherwise than well: with a fault of the machine, or a gate that the built-in model misses."""

LIGHTER = (
    (r"\b(720x480|1360x768)\b", "96x64"),
    (r"\b480x720\b", "64x96"),
    (r"\b(480x480|360x240)\b", "48x48"),
    (r"\b160x160\b", "16x16"),
    (r"cogvae bench\b(?!.*--size)", "cogvae bench --size 64x48 --runs 1"),
)
"""What the default suite makes of the sizes in a command; under the mark `long` it runs as it stands."""

_APART = re.compile(r"^(?!cogvae convert ).*(?:cogvideox|org/name)|HF_HUB|completion|--ray")
"""What has to run in a process of its own: its environment has a Hub, or it leaves threads behind."""

_SHELL = re.compile(r"[|&;<>$]|^\w+=|^(?!cogvae )")
_WRITES = re.compile(r" -o | --output | --out-dir |--report|--profile|completion|models download")
_OUTPUT = re.compile(r"(?:-o|--output|--report-out) ([\w./%-]+)")


def lighter(line: str) -> str:
    """The command with sizes that take no time."""
    for pattern, text in LIGHTER:
        line = re.sub(pattern, text, line)
    return line


@dataclass
class Store:
    """The files that pages name, each made when it is first asked for, and kept for the next block."""

    folder: Path
    package: Path
    _made: set[str] = field(default_factory=set)

    def give(self, name: str, to: Path) -> None:
        """Puts a copy of a file or a folder where a command looks for it."""
        if name not in self._made:
            self._made.add(name)
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            MAKERS[name](self, path)
        for other in ALONG.get(name, ()):
            self.give(other, to)
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (self.folder / name).is_dir():
            shutil.copytree(self.folder / name, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(self.folder / name, target)

    def path(self, name: str) -> Path:
        """Of a file that another one is made from."""
        self.give(name, self.folder / "parts")
        return self.folder / "parts" / name

    def latents(self) -> np.ndarray:
        """[T H W C] of the clip."""
        with np.load(self.path("clip.npz"), allow_pickle=False) as file:
            return np.asarray(file["latents"])


def _video(store: Store, path: Path) -> None:
    write_numbered(path, 9, (64, 48))


def _film(store: Store, path: Path) -> None:
    write_numbered(path, 600, (64, 48), 8)


def _clips(store: Store, path: Path) -> None:
    (path / "more").mkdir(parents=True)
    _video(store, path / "a.mp4")
    _video(store, path / "more" / "b.mp4")


def _sound(store: Store, path: Path) -> None:
    from imageio_ffmpeg import get_ffmpeg_exe

    tone = ["-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "testsrc=size=64x48:duration=1"]
    subprocess.run([get_ffmpeg_exe(), "-loglevel", "error", *tone, "-c:a", "aac", str(path)], check=True)


def _encode(*options: str) -> Callable[[Store, Path], None]:
    def make(store: Store, path: Path) -> None:
        assert main(["encode", str(store.path("clip.mp4")), "-o", str(path), "-q", "--model", "tiny", *options]) == 0

    return make


def _folder_of_latents(store: Store, path: Path) -> None:
    """As a batch leaves it: eight outputs and their rows."""
    path.mkdir()
    rows = []
    for number in range(8):
        shutil.copyfile(store.path("clip.npz"), path / f"{number}.npz")
        rows.append({"kind": "encode", "status": "done", "source": f"{number}.mp4", "output": f"{number}.npz"})
    (path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _model(store: Store, path: Path) -> None:
    shutil.copytree(store.package / "assets" / "tiny", path)


MAKERS: Mapping[str, Callable[[Store, Path], None]] = {
    "clip.mp4": _video,
    "back.mp4": _video,
    "other.mkv": _video,
    "film.mkv": _film,
    "source.mp4": _sound,
    "clips": _clips,
    "videos": _clips,
    "more.csv": lambda store, path: path.write_text("path,caption\nother.mkv,a wave\n"),
    "clip.npz": _encode(),
    "moments.npz": _encode("--posterior", "moments"),
    "latents": _folder_of_latents,
    "encoded.pt": lambda store, path: pt(path, laid_out(store.latents(), "BCTHW")),
    "latents.npy": lambda store, path: np.save(path, laid_out(store.latents(), "TCHW")),
    "my-model/vae": _model,
}
ALONG = {"more.csv": ("other.mkv",)}
"""What a file names in turn."""
_NAMED = re.compile(r"(?<![\w./-])(?:\./)?(" + "|".join(re.escape(name) for name in MAKERS) + r")(?![\w.-])")


@dataclass(frozen=True)
class Place:
    """Where commands run: the store, a Hub of this machine's own, and a home for caches."""

    store: Store
    environment: Mapping[str, str]
    seen: set[str] = field(default_factory=set)
    """Commands without an output that ran already: pages repeat them, and they leave nothing behind."""


@contextlib.contextmanager
def place(folder: Path, package: Path) -> Iterator[Place]:
    """A store and a running Hub, whose models are the built-in one under their names, at their pinned commits."""
    files = {f"vae/{path.name}": path.read_bytes() for path in (package / "assets" / "tiny").iterdir()}
    config = json.loads(files["vae/config.json"])
    commits = {preset.repo: preset for preset in PRESETS.values()}
    repositories = {
        name: Repository(files | _config(config, preset.scaling_factor), preset.revision or "f" * 40)
        for name, preset in commits.items()
    }
    repositories["org/name"] = Repository(files)
    programs = folder / "bin"
    programs.mkdir()
    (programs / "cogvae").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cogvae_cli "$@"\n')
    (programs / "cogvae").chmod(0o755)
    with serving(repositories) as hub:
        environment = os.environ | {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(folder / "hub"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HOME": str(folder),
            "SHELL": "/bin/bash",
        }
        yield Place(Store(folder / "store", package), environment)


def _config(config: Mapping[str, object], factor: float) -> dict[str, bytes]:
    return {"vae/config.json": json.dumps({**config, "scaling_factor": factor}).encode()}


def run_block(block: Block, runner: str, at: Place, folder: Path, change: Callable[[str], str] = str) -> None:
    """Runs the lines of a block of sh that are that runner's, each as `change` makes it, in an empty folder."""
    apart = any(_APART.search(step.text) for step in block.steps)
    for step in block.steps:
        if step.runner == runner:
            _run_line(change(step.text), at, folder, in_shell=apart)


def _run_line(line: str, at: Place, folder: Path, *, in_shell: bool) -> None:
    bare = line.split("  #")[0]
    if bare in at.seen and not _WRITES.search(bare):
        return
    at.seen.add(bare)
    for name in _OUTPUT.findall(line):
        (folder / name).unlink(missing_ok=True)
    written = {name.rstrip("/") for name in _OUTPUT.findall(line)}
    for name in dict.fromkeys(_NAMED.findall(line)):
        if name not in written and not (folder / name).exists() and f"--out-dir {name}" not in line:
            at.store.give(name, folder)
    allowed = next((codes for words, codes in ENDS.items() if words in line), (0,))
    code, said, printed = _in_shell(line, at, folder) if in_shell or _SHELL.search(bare) else _here(line)
    assert code in allowed, f"{line}\n{said}"
    assert printed or _OUTPUT.search(line), f"{line} printed nothing"


def _here(line: str) -> tuple[int, str, str]:
    """In this process, which has compiled already what others need."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(shlex.split(line, comments=True)[1:])
    return code, err.getvalue(), out.getvalue()


def _in_shell(line: str, at: Place, folder: Path) -> tuple[int, str, str]:
    """As a person types it. Without COGVAE_MODEL, so that the default model comes from the Hub."""
    script = f"set -o pipefail; {line}\nexit $?"
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=dict(at.environment), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr, done.stdout


def run_python(blocks: list[Block], at: Place, folder: Path) -> dict[str, object]:
    """Runs blocks of python one after the other in one namespace, which is given back; `frames` is there before.

    A file that a call writes is not put there first.
    """
    frames = np.linspace(-1, 1, 9 * 48 * 64 * 3, dtype=np.float32).reshape(1, 9, 48, 64, 3)
    names: dict[str, object] = {"frames": frames}
    for block in blocks:
        written = set(re.findall(r'_file\("[^"]*", "([^"]+)"', block.text))
        for name in dict.fromkeys(re.findall(r'"([\w./-]+)"', block.text)):
            if name in MAKERS and name not in written and not (folder / name).exists():
                at.store.give(name, folder)
        exec(compile(block.text, block.name, "exec"), names)
    return names
