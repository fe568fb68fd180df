"""safetensors files: a bounded check of their header, and writing one as a stream.

Layout: 8 bytes with the header's length, the header as JSON, then the tensors' bytes one behind the other.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from cogvae_cli.io.file_kinds import LONGEST, kind_of
from cogvae_cli.io.json_fields import Fields, MalformedError, parse_json, shown
from cogvae_cli.io.stored_array import Spool, StoredArray, copy

DTYPES: Mapping[str, str] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""numpy's name of a tensor's bytes, by the header's; a BF16 is kept as its 16 bits."""

_METADATA = "__metadata__"
_COUNT = 2**48  # no length or offset is above this
_ALIGNMENT = 8


@dataclass(frozen=True)
class Layout:
    """What a checked header says: its texts, and where each tensor lies."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, StoredArray]


def read_layout(file: BinaryIO, longest: int) -> Layout:
    """Reads the header of at most `longest` bytes, and checks that the tensors fill the rest of the file exactly.

    Only F32, F16 and BF16 are known. Raises MalformedError.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(8)
    length = int.from_bytes(head, "little")
    if len(head) < 8 or length > size - 8 or not file.read(1) == b"{":
        raise MalformedError(_no_safetensors(file, size, length))
    if length > longest:
        raise MalformedError(f"has a header of {length} bytes; at most {longest} are read")
    file.seek(8)
    try:
        text = file.read(length).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("has a safetensors header that is no UTF-8 text") from None
    fields = Fields(parse_json(text, "its safetensors header"), "safetensors header")
    metadata = fields.texts(_METADATA, longest) if _METADATA in fields.names() else {}
    tensors = {name: _read_tensor(fields.fields(name), name, 8 + length) for name in fields.names()}
    _check_extent(tensors, 8 + length, size)
    return Layout(metadata, tensors)


def _no_safetensors(file: BinaryIO, size: int, length: int) -> str:
    file.seek(0)
    head = file.read(LONGEST)
    kind = kind_of(head)
    if kind:
        return f"is no safetensors file, but {kind}"
    if head[8:9] == b"{" and length > size - 8:
        return f"is truncated: its header has {length} bytes, but the file only {size}"
    return "is no safetensors file"


def _read_tensor(fields: Fields, name: str, start: int) -> StoredArray:
    dtype = fields.text("dtype", 16)
    if dtype not in DTYPES:
        raise MalformedError(f"holds {shown(name)} as {dtype}; only {', '.join(DTYPES)} are read")
    shape = _lengths(fields, "shape", name)
    offsets = _lengths(fields, "data_offsets", name)
    fields.done()
    array = StoredArray(shape, DTYPES[dtype], start + (offsets[0] if offsets else 0))
    if len(offsets) != 2 or offsets[1] - offsets[0] != array.size:
        raise MalformedError(f"gives {shown(name)} of shape {shown(list(shape))} the bytes {shown(list(offsets))}")
    return array


def _lengths(fields: Fields, field: str, name: str) -> tuple[int, ...]:
    values = fields.items(field)
    if len(values) > 8 or any(isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= _COUNT for n in values):
        raise MalformedError(f"gives {shown(name)} the {field} {shown(values)}")
    return tuple(value for value in values if isinstance(value, int))


def _check_extent(tensors: Mapping[str, StoredArray], start: int, size: int) -> None:
    """Raises where tensors overlap, leave a gap, run past the file's end or leave bytes behind them."""
    edge = start
    for name, array in sorted(tensors.items(), key=lambda item: (item[1].offset, item[1].size)):
        if array.offset != edge:
            raise MalformedError(f"has a gap or an overlap before {shown(name)}")
        edge += array.size
    if edge > size:
        raise MalformedError(f"is truncated: {edge} bytes are declared, {size} are there")
    if edge < size:
        raise MalformedError(f"has {size - edge} bytes behind its last tensor")


def write_safetensors(file: BinaryIO, metadata: Mapping[str, str], spools: Mapping[str, Spool]) -> None:
    """Writes a file of these tensors in this order. Equal input, equal bytes."""
    names = {stored: name for name, stored in DTYPES.items()}
    header: dict[str, object] = {_METADATA: dict(metadata)}
    edge = 0
    for name, spool in spools.items():
        end = edge + spool.size
        header[name] = {"dtype": names[spool.stored], "shape": list(spool.shape), "data_offsets": [edge, end]}
        edge = end
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % _ALIGNMENT)
    file.write(len(text).to_bytes(8, "little"))
    file.write(text)
    for spool in spools.values():
        copy(spool, file)
