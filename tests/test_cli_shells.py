"""The command in real shells: completion in bash, zsh and fish, and colours only where they are wanted."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest

CASES = [
    ("cogvae rou", {"roundtrip"}),
    ("cogvae encode --frames-p", {"--frames-policy"}),
    ("cogvae encode --posterior m", {"mean", "moments"}),
    ("cogvae roundtrip --model cogvideox1", {"cogvideox1.5-5b", "cogvideox1.5-5b-i2v"}),
    ("cogvae models d", {"download"}),
]


@pytest.fixture(scope="module")
def on_path(tmp_path_factory) -> dict[str, str]:
    """An environment in which `cogvae` is a program, as after installing it."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "cogvae"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cogvae_cli "$@"\n')
    program.chmod(0o755)
    home = tmp_path_factory.mktemp("home")
    return os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb"}


def shell(name: str) -> str:
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    return program


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash_completes(line, expected, on_path):
    script = """
        source <(cogvae --show-completion)
        COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        $(complete -p cogvae | sed 's/.*-F \\([^ ]*\\).*/\\1/') cogvae
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    command = [shell("bash"), "--norc", "-c", script, "bash", line]
    done = subprocess.run(command, env=on_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_fish_completes(line, expected, on_path):
    script = f"cogvae --show-completion | source; complete -C '{line}'"
    done = subprocess.run([shell("fish"), "-c", script], env=on_path, capture_output=True, text=True, check=True)
    assert {found.split("\t")[0] for found in done.stdout.splitlines()} == expected


def test_zsh_completes(on_path):
    """At a real prompt, for zsh completes nowhere else; the names that remain are listed below the line."""
    with Prompt([shell("zsh"), "-f", "-i"], on_path) as prompt:
        prompt.send(
            "PS1='READ''Y> '; autoload -U compinit; compinit -u; cogvae --show-completion >c; . ./c\n", "READY> "
        )
        assert "roundtrip" in prompt.send("cogvae rou\t", "roundtrip")
        prompt.send("\x15", "")
        assert "--frames-policy" in prompt.send("cogvae encode --frames-p\t", "--frames-policy")
        prompt.send("\x15", "")
        listed = prompt.send("cogvae roundtrip --model cogvideox1\t\t", "i2v")
        assert "cogvideox1.5-5b-i2v" in listed


class Prompt:
    """A shell on a pseudo-terminal."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=environment["HOME"]
        )
        os.close(theirs)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    def send(self, text: str, awaited: str) -> str:
        """Types, and reads until the awaited words, which are not what was typed, have come."""
        os.write(self._ours, text.encode())
        received, end = "", time.monotonic() + 30
        while time.monotonic() < end:
            ready, _, _ = select.select([self._ours], [], [], 0.5)
            if ready:
                received += os.read(self._ours, 4096).decode(errors="replace")
            elif awaited in received:
                return received
        raise AssertionError(f"{awaited!r} has not come, but {received!r}")


def on_terminal(environment: dict[str, str]) -> str:
    """What the help looks like on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cogvae_cli", "encode", "--help"]
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=inherited | environment)
    os.close(theirs)
    received = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other side is closed
            break
        received += data
    os.close(ours)
    assert process.wait() == 0
    return received.decode()


COLOUR = re.compile(r"\x1b\[(?:\d+;)*(3[0-8]|4[0-8]|9[0-7])[;m]")


def test_a_terminal_has_colours_unless_no_color_is_set():
    assert COLOUR.search(on_terminal({"TERM": "xterm-256color"}))
    plain = on_terminal({"TERM": "xterm-256color", "NO_COLOR": "1"})
    assert "--frames-policy" in re.sub(r"\x1b\[[\d;]*m", "", plain)
    assert not COLOUR.search(plain)


@pytest.mark.parametrize("environment", [{}, {"GITHUB_ACTIONS": "true"}])
@pytest.mark.parametrize("arguments", [["--help"], ["encode", "--help"], ["info", "tiny"], ["nothing"]])
def test_a_pipe_gets_no_escape_codes(environment, arguments):
    environment = os.environ | environment | {"TERM": "xterm-256color"}
    command = [sys.executable, "-m", "cogvae_cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert b"\x1b" not in done.stdout + done.stderr
    assert done.stdout + done.stderr


def test_the_completion_of_a_word_is_quick(on_path):
    """Less than a second of processor time, for a person waits."""
    environment = on_path | {
        "_COGVAE_COMPLETE": "complete_bash",
        "COMP_WORDS": "cogvae roundtrip --model t",
        "COMP_CWORD": "3",
    }
    before = os.times()
    done = subprocess.run(["cogvae"], env=environment, capture_output=True, text=True, check=True)
    after = os.times()
    assert done.stdout.split() == ["tiny"]
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1
