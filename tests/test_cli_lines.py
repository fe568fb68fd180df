"""The command line itself: help, versions, exit codes, one line an error, streams kept apart."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cogvae_cli
from cogvae_cli.cli.main import main

COMMANDS = ("encode", "decode", "roundtrip", "compare", "info", "plan", "bench", "convert", "verify", "doctor")


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    monkeypatch.setenv("_TYPER_FORCE_DISABLE_TERMINAL", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERMINAL_WIDTH", "120")


def error_lines(capsys) -> list[str]:
    """stderr, which must be one line `error:` and at most one line `hint:`; stdout must be empty."""
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0].startswith("error: ")
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert len(lines) <= 2
    return lines


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_examples(command, capsys):
    assert main([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count(f"cogvae {command} ") >= 3
    assert {"--json", "--quiet", "--debug"} <= set(re.findall(r"--[a-z-]+", out))


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)
    assert "Exit codes" in out


def test_no_argument_shows_the_help_and_is_a_usage_error(capsys):
    assert main([]) == 2
    assert "Usage: cogvae" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version_names_what_the_numbers_depend_on(flag, capsys):
    assert main([flag]) == 0
    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert set(lines) == {"cogvae", "jax", "flax", "av", "python"}
    assert lines["cogvae"] == cogvae_cli.__version__
    assert lines["python"] == ".".join(map(str, sys.version_info[:3]))


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "cogvae_cli", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cogvae {cogvae_cli.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decodr", "z.npz"], "decodr"),
        (["encode"], "VIDEO"),
        (["encode", "clip.mp4"], "--output"),
        (["encode", "clip.mp4", "-o", "z.npz", "--frobnicate"], "--frobnicate"),
        (["encode", "clip.mp4", "-o", "z.npz", "--dtype", "float8"], "float8"),
        (["decode", "z.npz", "-o", "out.mp4", "--crf", "99"], "--crf"),
        (["encode", "clip.mp4", "-o", "z.mp4", "--model", "tiny"], ".npz or .safetensors"),
        (["roundtrip", "--report-out", "page.pdf"], ".html or .json"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line_with_exit_2(arguments, message, capsys):
    assert main(arguments) == 2
    lines = error_lines(capsys)
    assert message in lines[0]
    assert len(lines) == 2


@pytest.mark.parametrize("command", ["encode", "roundtrip"])
def test_a_missing_video_is_bad_input(command, capsys, tmp_path):
    output = ["-o", str(tmp_path / "z.npz")] if command == "encode" else []
    assert main([command, str(tmp_path / "none.mp4"), *output, "--model", "tiny"]) == 3
    assert "none.mp4" in error_lines(capsys)[0]


def test_missing_latents_are_bad_input(capsys, tmp_path):
    assert main(["decode", str(tmp_path / "none.npz"), "-o", str(tmp_path / "out.mp4")]) == 3
    assert "none.npz" in error_lines(capsys)[0]


def test_a_thing_of_no_known_kind_is_bad_input(capsys, tmp_path):
    assert main(["info", str(tmp_path / "none.mp4")]) == 3
    assert "none.mp4" in error_lines(capsys)[0]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["rondtrip"], "'roundtrip'"),
        (["encode", "clip.mp4", "-o", "z.npz", "--modle", "tiny"], "--model"),
        (["encode", "clip.mp4", "-o", "z.npz", "--frames-polcy", "pad"], "--frames-policy"),
        (["info", "cogvidex-2b"], "cogvideox-2b"),
        (["models", "downlod", "tiny"], "'download'"),
    ],
)
def test_the_nearest_right_name_is_suggested(arguments, meant, capsys):
    assert main(arguments) in (2, 3)
    assert meant in error_lines(capsys)[0]


def test_the_nearest_right_model_is_suggested(capsys, package):
    clip = package / "assets" / "clips" / "city_cc0_480x272_49f.mp4"
    assert main(["roundtrip", str(clip), "--model", "cogvideox2b", "-q"]) == 3
    assert "did you mean cogvideox-2b?" in error_lines(capsys)[0]


def test_a_name_with_a_line_break_stays_on_one_line(capsys, tmp_path):
    assert main(["decode", str(tmp_path / "two\nlines.npz"), "-o", str(tmp_path / "out.mp4")]) == 3
    assert "two lines.npz" in error_lines(capsys)[0]


def test_a_name_that_is_no_utf8_can_be_told(tmp_path):
    name = str(tmp_path).encode() + b"/caf\xe9.npz"
    command = [sys.executable.encode(), b"-m", b"cogvae_cli", b"info", name]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 3
    assert done.stderr.count(b"\n") <= 2
    assert b"unexpected" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_stdout_is_no_fault_of_the_program(unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "cogvae_cli", "info", "tiny", "-q"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("error: the system refuses: [Errno 28]")
    assert done.stderr.splitlines()[1:] == ["hint: --debug shows where it happened"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_of_stdout_that_has_gone_ends_the_command_quietly(unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "cogvae_cli", "info", "tiny", "-q"]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")


def test_debug_shows_where_an_error_came_from(capsys, tmp_path):
    assert main(["info", str(tmp_path / "none.npz"), "--debug"]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-2].startswith("error: ")


def test_debug_can_be_asked_for_by_the_environment(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COGVAE_DEBUG", "1")
    assert main(["info", str(tmp_path / "none.npz")]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_debug_after_two_dashes_is_a_file_name(capsys):
    assert main(["info", "--", "--debug"]) == 3
    assert "--debug" in error_lines(capsys)[0]


def test_the_facts_of_the_built_in_model_are_json_on_stdout_alone(capsys):
    assert main(["info", "tiny", "--json", "-q"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert err == ""
    assert out.count("\n") == 1
    assert (facts["schema_version"], facts["kind"], facts["name"]) == (1, "model", "tiny")
    assert facts["config"]["block_out_channels"] == [16, 32, 32, 64]
    assert facts["parameters"] > 100_000


def test_the_facts_of_a_model_are_a_table_for_people(capsys):
    assert main(["info", "tiny"]) == 0
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["kind"] == "model"
    assert rows["config block out channels"] == "16, 32, 32, 64"


@pytest.mark.parametrize("option", [["--count"], ["--revision", "main"]])
def test_an_option_of_another_kind_of_thing_is_refused(option, capsys, package):
    target = "tiny" if option[0] == "--count" else str(package / "assets" / "clips" / "city_cc0_480x272_49f.mp4")
    assert main(["info", target, *option]) == 2
    assert "leave out" in error_lines(capsys)[1]


@pytest.mark.parametrize(
    ("shell", "code", "says"),
    [
        ("encode - -o a.npz --model tiny <&-", 3, "error: standard input: is empty (0 bytes)"),
        ("--version >&-", 1, "error: the system refuses: [Errno 9] Bad file descriptor"),
        ("encode none.mp4 -o a.npz 2>&-", 3, ""),
    ],
)
def test_a_standard_stream_that_is_closed_is_no_fault_and_no_other_file_takes_its_place(tmp_path, shell, code, says):
    command = f'exec "{sys.executable}" -m cogvae_cli {shell}'
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, stdin=subprocess.PIPE, capture_output=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr.decode().splitlines()[:1] == ([says] if says else [])
    assert list(tmp_path.iterdir()) == []
