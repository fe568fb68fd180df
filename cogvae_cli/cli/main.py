"""The command `cogvae`: its subcommands, and the one place where errors become lines and exit codes."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, TextIO

import typer

from cogvae_cli.cli.bench import bench
from cogvae_cli.cli.compare import compare
from cogvae_cli.cli.convert import convert
from cogvae_cli.cli.decode import decode
from cogvae_cli.cli.doctor import doctor
from cogvae_cli.cli.encode import encode
from cogvae_cli.cli.info import info
from cogvae_cli.cli.interrupts import Terminated, signals_raise
from cogvae_cli.cli.models import app as models
from cogvae_cli.cli.plan import plan
from cogvae_cli.cli.ray_address import with_ray_address
from cogvae_cli.cli.roundtrip import roundtrip
from cogvae_cli.cli.verify import verify
from cogvae_cli.errors import CogvaeError

INTERRUPTED = 130
TERMINATED = 143

_VERSIONED = ("jax", "flax", "av")

_USAGE_ERROR = typer.BadParameter.__mro__[1]
"""Base of all that Typer says of a wrong command line; Typer exports no name for it."""

app = typer.Typer(
    name="cogvae",
    help="Video into CogVideoX latents and back, on TPU, GPU or CPU.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 bad input, 4 output exists, 5 quality gate missed.",
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
for _command in (encode, decode, roundtrip, compare, info, plan, bench, convert, verify, doctor):
    app.command()(_command)
app.add_typer(models)


def _print_versions(wanted: bool) -> None:
    if not wanted:
        return
    import importlib.metadata as metadata
    import platform

    from cogvae_cli import __version__

    print(f"cogvae {__version__}")
    for name in _VERSIONED:
        print(f"{name} {metadata.version(name)}")
    print(f"python {platform.python_version()}")
    raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_versions, is_eager=True, help="Show versions and leave."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv`, without the program's name; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        _print_any_name(stream)
    try:
        with signals_raise(), _no_colours_in_pipes():
            code = _run(arguments)
            sys.stdout.flush()  # a full disk is told here, and not found by Python when all is over
    except BrokenPipeError:  # the reader has gone and wants no more, not even a word
        code = 1
        _drop_stdout()
    except (Exception, Terminated) as error:  # noqa: BLE001 - the boundary: each becomes a line and an exit code
        if _wants_debug(arguments):
            traceback.print_exception(error)
        code, message, hint = _explain(error)
        print(f"error: {_one_line(message)}", file=sys.stderr)
        if hint:
            print(f"hint: {_one_line(hint)}", file=sys.stderr)
        if isinstance(error, OSError):
            _drop_stdout()
    return code


def _fill_closed_streams() -> None:
    """Puts something in place of a standard stream that is closed: the next file that is opened would take its number.

    Standard input is empty then, and writing to standard output fails as it should.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest number that is free, which is this one
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - they last as long as the process
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _drop_stdout() -> None:
    """What stdout still holds goes nowhere, if it can't be written: Python would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _run(arguments: list[str]) -> int:
    """Typer gives back the code of typer.Exit, 130 after Ctrl-C, and else what the command returned, which is None."""
    command = typer.main.get_command(app)
    code = command.main(args=with_ray_address(arguments), prog_name="cogvae", standalone_mode=False)
    if code == INTERRUPTED:
        print("error: interrupted", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _explain(error: BaseException) -> tuple[int, str, str | None]:
    """Exit code, message and hint of whatever ended a command."""
    if isinstance(error, CogvaeError):
        return error.exit_code, error.message, error.hint
    if isinstance(error, Terminated):
        return TERMINATED, "terminated", None
    if isinstance(error, _USAGE_ERROR):
        return 2, *_usage(error)
    if isinstance(error, MemoryError):
        return 1, "out of memory", "use a smaller video"
    if isinstance(error, OSError):  # a full disk or a lost connection is nobody's fault in here
        return 1, f"the system refuses: {error}", "--debug shows where it happened"
    text = f": {error}" if str(error) else ""
    return 1, f"unexpected {type(error).__name__}{text}", "this is a fault of cogvae; --debug shows where it happened"


def _usage(error: BaseException) -> tuple[str, str]:
    """Typer's words for a wrong command line, and which help to read."""
    message: str = error.format_message()  # type: ignore[attr-defined]  # the class is not exported
    context = getattr(error, "ctx", None)
    command = "cogvae" if context is None else context.command_path
    message = message.replace("Value error, ", "").rstrip(".")
    return message[:1].lower() + message[1:], f"see {command} --help"


def _one_line(text: str) -> str:
    """File names may hold line breaks; an error is one line all the same."""
    return " ".join(text.split())


def _wants_debug(arguments: list[str]) -> bool:
    """Read here, not by Typer, for a wrong command line must be told too."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--debug" in options or os.environ.get("COGVAE_DEBUG", "").lower() in ("1", "true", "yes", "on", "t", "y")


def _print_any_name(stream: TextIO) -> None:
    """File names that are no UTF-8, and terminals that know less than UTF-8, don't stop a line from being printed."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


@contextmanager
def _no_colours_in_pipes() -> Iterator[None]:
    """On GitHub's machines Typer takes a pipe for a terminal, unless this is set when it first writes a help text."""
    name = "_TYPER_FORCE_DISABLE_TERMINAL"
    if sys.stdout.isatty() or os.environ.get("FORCE_COLOR") or name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)
