"""`cogvae models`: the models that have a name, and fetching them from the Hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cogvae_cli.cli import options
from cogvae_cli.cli.terminal import TerminalProgress, bytes_text, print_json, print_lines, table

if TYPE_CHECKING:
    from cogvae_cli.pipeline.model_files import FetchedModel, ListedModel

app = typer.Typer(name="models", help="List the models that have a name, and fetch them from the Hub.")

_HEADINGS = ("name", "repository", "pinned commit", "factor", "on this machine")
_SHORT = 12  # digits of a commit in a table


@app.command("list")
def list_(as_json: options.AsJson = False, quiet: options.Quiet = False, debug: options.Debug = False) -> None:
    """List the models that have a name, and what of them is on this machine.

    Asks nobody: it works without a network. --json shows whole commits, folders, and commits besides the pinned one.

    Examples:

      cogvae models list

      cogvae models list --json
    """
    from cogvae_cli.pipeline.model_files import list_models

    found = list_models()
    if as_json:
        print_json(found.as_dict())
    else:
        print_lines([*_columns([_HEADINGS, *map(_row, found.models)]), "", f"the Hub's cache is {found.cache}"])


@app.command("download")
def download(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Names of models, or Hub ids.", show_default=False)
    ],
    revision: options.Revision = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fetch the VAE of models into the Hub's cache, check it, and tell where it lies.

    Of each repository only the VAE's config and weights are fetched. What is cached already is checked again.

    Examples:

      cogvae models download cogvideox-2b cogvideox-5b

      cogvae models download cogvideox1.5-5b-i2v --revision main

      cogvae models download org/name --revision main --json
    """
    from cogvae_cli.pipeline.model_files import fetch_models
    from cogvae_cli.pipeline.results import SCHEMA_VERSION

    fetched = fetch_models(names, revision=revision, progress=TerminalProgress(quiet=quiet))
    if as_json:
        models = [model.as_dict() for model in fetched]
        print_json({"schema_version": SCHEMA_VERSION, "kind": "models-download", "models": models})
    else:
        for model in fetched:
            print_lines(_lines(model))


def _row(model: ListedModel) -> tuple[str, ...]:
    if model.repository is None:
        place = ("built in", "")
    else:
        place = (model.repository, model.revision[:_SHORT] if model.revision else "needs --revision")
    return (model.name, *place, str(model.scaling_factor), _held(model))


def _held(model: ListedModel) -> str:
    """What is cached: its size; where it isn't at the pinned commit, that commit too."""
    if not model.copies:
        return "no"
    copy = model.copies[0]
    pinned = copy.revision == model.revision or copy.revision is None
    return bytes_text(copy.size) + ("" if pinned else f" at {str(copy.revision)[:_SHORT]}")


def _lines(model: FetchedModel) -> list[str]:
    rows = [("name", model.name), ("repository", model.repository or "built in")]
    rows += [("commit", model.revision)] if model.revision else []
    rows += [("scaling factor", str(model.scaling_factor)), ("folder", str(model.folder))]
    files = _columns([(file.name, bytes_text(file.size), f"sha256 {file.sha256}") for file in model.files])
    return [*table(rows), *files]


def _columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines, each column as wide as its widest text."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
