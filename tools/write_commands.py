"""Writes docs/commands.md from the declarations of the commands themselves: what a help text says, as a page.

It reads the signatures in cogvae_cli/cli and not a printed help, which changes with the width of a terminal and with
Typer's release.

    python tools/write_commands.py            prints the page
    python tools/write_commands.py --write    writes docs/commands.md
"""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import typer  # noqa: E402

from cogvae_cli.cli.main import app  # noqa: E402

PAGE = ROOT / "docs" / "commands.md"
EXAMPLES = "Examples:"
PLAIN = "Options"
"""Heading of the options that name no panel."""

NEEDS = {"cogvae verify": "torch and diffusers", "--topology": "libtpu"}
"""What an example needs besides the package, by a part of it."""

HEAD = """\
# Commands

<!-- tools/write_commands.py writes this page from the commands themselves: change those, not the page. -->

`cogvae COMMAND --help` says the same in a terminal. Where the results go, exit codes, dry runs and completion:
[terminal.md](terminal.md). `cogvae --version` tells the releases that the numbers depend on.
"""


@dataclasses.dataclass(frozen=True)
class Parameter:
    """An argument or an option, as the page shows it."""

    panel: str
    names: tuple[str, ...]
    """Empty for an argument."""
    value: str
    """What stands for its value; empty for a switch."""
    text: str
    required: bool


def parameters(command: Callable[..., Any]) -> Iterator[Parameter]:
    """What a command declares, in its order."""
    hints = typing.get_type_hints(command, include_extras=True)
    for name, declared in inspect.signature(command).parameters.items():
        kind, info = typing.get_args(hints[name])
        default = None if declared.default is inspect.Parameter.empty else declared.default
        is_argument = isinstance(info, typer.models.ArgumentInfo)
        yield Parameter(
            panel=info.rich_help_panel or PLAIN,
            names=() if is_argument else option_names(name, info),
            value=value_text(kind, info, name),
            text=" ".join([info.help, *facts(kind, info, default)]),
            required=declared.default is inspect.Parameter.empty,
        )


def option_names(name: str, info: typer.models.OptionInfo) -> tuple[str, ...]:
    """Short names first. In `Annotated`, Typer takes the first name for the default."""
    first = [info.default] if isinstance(info.default, str) and info.default.startswith("-") else []
    names = [*first, *(info.param_decls or ())]
    if not any(one.startswith("--") for one in names):
        names.append("--" + name.replace("_", "-"))
    return tuple(sorted(names, key=lambda one: one.startswith("--")))


def plain_kind(kind: Any) -> Any:
    """`X` of `X | None`."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(one for one in typing.get_args(kind) if one is not type(None))
    return kind


def value_text(kind: Any, info: Any, name: str) -> str:
    """`WxH`, `float32|bfloat16`, `N`; nothing for a switch."""
    kind = plain_kind(kind)
    if kind is bool:
        return ""
    if info.metavar:
        many = typing.get_origin(kind) is list and not info.metavar.endswith("...")
        return f"{info.metavar}..." if many else str(info.metavar)
    if typing.get_origin(kind) is typing.Literal:
        return "|".join(map(str, typing.get_args(kind)))
    return "N" if kind in (int, float) else name.upper()


def facts(kind: Any, info: Any, default: Any) -> Iterator[str]:
    """What a help text appends: bounds, the default, the variable of the environment."""
    if info.min is not None and info.max is not None and info.max < 2**31:
        yield f"From {info.min} to {info.max}."
    elif info.min is not None:
        yield f"At least {info.min}."
    if default not in (None, False) and info.show_default:
        yield f"Default: {default}." if not isinstance(default, float) else f"Default: {default:g}."
    if info.envvar:
        yield f"Environment: `{info.envvar}`."


def section(path: str, command: Callable[..., Any]) -> str:
    """All about one command."""
    text, _, examples = inspect.cleandoc(command.__doc__ or "").partition(EXAMPLES)
    declared = list(parameters(command))
    arguments = [one for one in declared if not one.names]
    words = [one.value if one.required else f"[{one.value}]" for one in arguments]
    lines = [example(line.strip()) for line in examples.splitlines() if line.strip()]
    parts = [
        f"## {path}\n",
        f"`{' '.join([path, *words, '[OPTIONS]'])}`\n",
        text.strip() + "\n",
        "\n".join(["<!-- run: long -->", "```sh", *lines, "```\n"]),
        *([table("argument", arguments)] if arguments else []),
    ]
    panels = dict.fromkeys(one.panel for one in declared if one.names)
    parts += [table(panel, [one for one in declared if one.names and one.panel == panel]) for panel in panels]
    return "\n".join(parts)


def example(line: str) -> str:
    """The line, with a comment if the package alone can't run it."""
    needs = [words for part, words in NEEDS.items() if part in line]
    return f"{line}  # needs {needs[0]}" if needs else line


def table(heading: str, rows: list[Parameter]) -> str:
    """A panel of a help text."""
    lines = [f"| {heading} | |", "|---|---|"]
    for row in rows:
        names = [f"`{name}`" for name in row.names]
        if row.value:
            names.append(f"`{cell(row.value)}`")
        lines.append(f"| {' '.join(names)} | {cell(row.text)} |")
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Bars would end a cell."""
    return text.replace("|", "\\|")


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every command with its path, in the order of the help."""
    for one in app.registered_commands:
        yield f"cogvae {one.name or one.callback.__name__}", one.callback
    for group in app.registered_groups:
        for one in group.typer_instance.registered_commands:
            yield f"cogvae {group.typer_instance.info.name} {one.name or one.callback.__name__}", one.callback


def page() -> str:
    """The whole of docs/commands.md."""
    found = list(commands())
    links = " · ".join(f"[{path.removeprefix('cogvae ')}](#{path.replace(' ', '-')})" for path, _ in found)
    return "\n".join([HEAD, links + "\n", *(section(path, command) for path, command in found)])


def main() -> None:
    """Prints the page, or writes it."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
