"""Lists of clips in files: a path a line, or tables in CSV, TSV and JSON Lines with a column of paths."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cogvae_cli.errors import InputError, UsageError
from cogvae_cli.io.json_fields import shown

LISTS = (".txt", ".list")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")

PATH_COLUMNS = ("path", "video", "video_path", "file", "file_name", "filename", "source")
"""Names of a column of paths that are known without --path-column."""

_LONGEST_FIELD = 2**27  # characters of a cell; Python's own bound of 131,072 is too low for embedded captions


@dataclass(frozen=True)
class TableRow:
    """A clip in a table."""

    path: str
    columns: Mapping[str, Any]
    """All other columns."""
    relative: str | None = None
    """Its place in the tree, where cogvae itself wrote the row."""
    mirrored: bool = False
    """Whether such a row is about the mirror image."""


def read_list(path: Path) -> Iterator[str]:
    """The paths of a text file, one a line; empty lines are left out. Raises InputError."""
    try:
        # Names that are no UTF-8 come through as they are.
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            for line in file:
                text = line.rstrip("\r\n")
                if "\0" in text:
                    raise InputError(f"{path}: is no text: it holds a zero byte")
                if text:
                    yield text
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error


def read_table(path: Path, path_column: str | None, kind: str) -> Iterator[TableRow]:
    """The rows of a table. `kind` is the job: its own manifest gives the clips again, that of `encode` its latents.

    Raises InputError for what isn't such a table, naming the line; UsageError where the column of paths isn't plain.
    """
    rows = _json_rows(path) if path.suffix.lower() in (".jsonl", ".ndjson") else _csv_rows(path)
    for number, row in rows:
        if path_column is None and _is_own(row):
            own = _own_row(path, row, kind)
            if own is not None:
                yield own
            continue
        name = path_column or _path_column(path, row)
        text = row.pop(name, None)
        if not isinstance(text, str) or not text or "\0" in text:
            raise InputError(f"{path}, line {number}: {name} is {shown(text)}, not a path")
        yield TableRow(text, row)


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    raise InputError(f"{path}, line {number}: is not JSON: {shown(line[:60])}") from None
                if not isinstance(row, dict):
                    raise InputError(f"{path}, line {number}: is {shown(row)}, not an object")
                yield number, row
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file, strict=True, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            names = reader.fieldnames or []
            if len(set(names)) != len(names):
                raise InputError(f"{path}: two of its columns have the same name: {', '.join(names)}")
            for row in reader:
                if None in row or None in row.values():
                    raise InputError(f"{path}, line {reader.line_num}: doesn't have the {len(names)} cells of the head")
                yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"{path}: is no table in CSV ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error


def _path_column(path: Path, row: Mapping[str, Any]) -> str:
    known = [name for name in PATH_COLUMNS if name in row]
    if len(known) == 1:
        return known[0]
    fault = f"has columns {', '.join(known)}" if known else f"has no column {', '.join(PATH_COLUMNS)}"
    raise UsageError(f"{path}: {fault}", "say which one holds the paths with --path-column")


def _is_own(row: Mapping[str, Any]) -> bool:
    return {"schema_version", "kind", "status", "source", "relative"} <= set(row)


def _own_row(path: Path, row: Mapping[str, Any], kind: str) -> TableRow | None:
    """A clip of a manifest of cogvae's own; None for one that has no latents to decode."""
    columns = row.get("columns") or {}
    texts = row["source"], row["relative"], row.get("output")
    parts = [part for text in texts[1:] if isinstance(text, str) for part in text.split("/")]
    if not all(isinstance(text, str) for text in texts) or ".." in parts or "" in parts:
        raise InputError(f"{path}: its row about {shown(row['source'])} is none that cogvae wrote")
    if row["kind"] == kind:
        return TableRow(row["source"], columns, row["relative"], mirrored=bool(row.get("mirrored")))
    if row["kind"] == "encode" and row["status"] == "done":
        return TableRow(str(path.absolute().parent / row["output"]), columns, row["output"])
    return None
