"""PyTorch's .pt files without PyTorch: reading tensors out of the zip form, and writing what torch.load reads.

Only the zip form that torch.save has written since PyTorch 1.6 is read; its pickle goes through io/torch_pickle.py.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from cogvae_cli.io.file_kinds import LONGEST as HEAD
from cogvae_cli.io.file_kinds import kind_of
from cogvae_cli.io.json_fields import MalformedError, shown
from cogvae_cli.io.stored_array import BLOCK, STORED
from cogvae_cli.io.torch_pickle import LONGEST, STORAGES, Tensor, read_pickle
from cogvae_cli.io.zip_members import Member, stored_members

BARE = ""
"""Name of the tensor in a file that holds one tensor and no dict."""

_MEMBERS, _DIRECTORY, _NOTE = 256, 2**16, 17 * 2**20  # most members, bytes of their directory, bytes of a note
_PARTS = re.compile(r"data\.pkl|data/\d+|version|byteorder|\.(format_version|storage_alignment|data/serialization_id)")
_NOTES = "extra/"
_FOLDER = "archive"
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that zip can hold, so that equal input gives equal bytes
_ALIGNMENT = 64  # of a storage in the file, as torch.save aligns it
_LEGACY = b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number, pickled, that the old form starts with
_TAR = (257, b"ustar")
_CURE = "rewrite it in PyTorch: torch.save(torch.load(path, weights_only=True), path)"
_DTYPES: Mapping[str, str] = {**STORED, "float64": "<f8"}


class LegacyError(MalformedError):
    """A .pt file of a form from before PyTorch 1.6, which is one long pickle or a tar archive."""

    hint = _CURE


@dataclass(frozen=True)
class TorchFile:
    """The tensors of a checked file, and the texts that cogvae put beside them."""

    tensors: Mapping[str, Tensor]
    notes: Mapping[str, str]
    storages: Mapping[str, Member]


def locate_tensors(file: BinaryIO) -> TorchFile:
    """Finds the tensors of a .pt file that holds one tensor, or a dict with tensors in it.

    Raises MalformedError for anything else, LegacyError for the forms before PyTorch 1.6. No value is read yet.
    """
    _check_form(file)
    members = _parts(stored_members(file, _MEMBERS, _DIRECTORY))
    if "data.pkl" not in members:
        raise MalformedError("is a zip archive without data.pkl: no file of torch.save")
    if "byteorder" in members and _read(file, members["byteorder"], 16) != b"little":
        raise MalformedError("holds big-endian values; only little-endian ones are read")
    storages = {name.removeprefix("data/"): part for name, part in members.items() if name.startswith("data/")}
    value = read_pickle(_read(file, members["data.pkl"], LONGEST), {key: part.size for key, part in storages.items()})
    tensors = {BARE: value} if isinstance(value, Tensor) else value
    if not isinstance(tensors, dict):
        raise MalformedError(f"holds a {type(value).__name__}, not a tensor nor a dict of tensors")
    notes = {name.removeprefix(_NOTES): part for name, part in members.items() if name.startswith(_NOTES)}
    return TorchFile(
        {name: tensor for name, tensor in tensors.items() if isinstance(name, str) and isinstance(tensor, Tensor)},
        {name: _text(_read(file, part, _NOTE)) for name, part in notes.items()},
        storages,
    )


def read_tensor(file: BinaryIO, found: TorchFile, tensor: Tensor) -> np.ndarray:
    """The tensor's values as they are stored, in C order: little-endian floats, bfloat16 as its 16 bits.

    Raises MalformedError for a dtype that latents don't have, and where a check sum is wrong.
    """
    storage, member = tensor.storage, found.storages[tensor.storage.key]
    if storage.dtype not in _DTYPES:
        raise MalformedError(f"holds a tensor of dtype {storage.dtype}; latents are {', '.join(_DTYPES)}")
    _check_crc(file, member)
    file.seek(member.offset + tensor.offset * storage.itemsize)
    flat = np.frombuffer(file.read(tensor.span * storage.itemsize), _DTYPES[storage.dtype])
    if flat.size != tensor.span:
        raise MalformedError("is truncated")
    steps = tuple(stride * storage.itemsize for stride in tensor.strides)
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, tensor.shape, steps, writeable=False))


def write_tensors(file: BinaryIO, tensors: Mapping[str, np.ndarray], dtype: str, notes: Mapping[str, str]) -> None:
    """Writes a file that torch.load(weights_only=True) reads: the tensor named BARE by itself, others as a dict.

    tensors: values as they are stored (STORED[dtype]). notes: texts that PyTorch passes over. Equal input, equal bytes.
    """
    if BARE in tensors and len(tensors) > 1:
        raise ValueError("a bare tensor stands by itself")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", _pickle(tensors, dtype))
        _add(archive, ".format_version", b"1")
        _add(archive, ".storage_alignment", str(_ALIGNMENT).encode())
        _add(archive, "byteorder", b"little")
        for index, values in enumerate(tensors.values()):
            _add(archive, f"data/{index}", np.ascontiguousarray(values, STORED[dtype]).data.cast("B"))
        _add(archive, "version", b"3\n")
        for name, text in notes.items():
            _add(archive, _NOTES + name, text.encode("utf-8"))


def _check_form(file: BinaryIO) -> None:
    file.seek(0)
    head = file.read(HEAD)
    if head.startswith(_LEGACY) or head[_TAR[0] :].startswith(_TAR[1]):
        raise LegacyError("is a .pt file of the form before PyTorch 1.6, which is not read")
    if not head.startswith(b"PK\3\4"):
        raise MalformedError(f"is no .pt file of torch.save{'; it is ' + kind if (kind := kind_of(head)) else ''}")


def _parts(members: Mapping[str, Member]) -> dict[str, Member]:
    """Members by their name within the archive's one folder. Raises MalformedError for names not torch.save's."""
    parts: dict[str, Member] = {}
    folders = set()
    for name, member in members.items():
        folder, _, part = name.partition("/")
        folders.add(folder)
        if folder in ("", ".", "..") or not (_PARTS.fullmatch(part) or part.startswith(_NOTES)):
            raise MalformedError(f"has a member {shown(name)}, which torch.save doesn't write")
        parts[part] = member
    if len(folders) > 1:
        raise MalformedError(f"has members in {len(folders)} folders; torch.save writes one")
    return parts


def _read(file: BinaryIO, member: Member, longest: int) -> bytes:
    if member.size > longest:
        raise MalformedError(f"has a member {shown(member.name)} of {member.size} bytes; at most {longest} are read")
    _check_crc(file, member)
    file.seek(member.offset)
    return file.read(member.size)


def _check_crc(file: BinaryIO, member: Member) -> None:
    """Reads the member once. PyTorch can be told to leave check sums out; they are 0 then."""
    if member.crc == 0:
        return
    file.seek(member.offset)
    crc, left = 0, member.size
    while left and (block := file.read(min(BLOCK, left))):
        crc, left = zlib.crc32(block, crc), left - len(block)
    if left or crc != member.crc:
        raise MalformedError(f"is damaged: the check sum (CRC-32) of {shown(member.name)} is wrong")


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("has a note that is no UTF-8 text") from None


def _add(archive: zipfile.ZipFile, part: str, data: bytes | memoryview) -> None:
    """Adds a member whose bytes start at a multiple of the alignment, so that torch.load(mmap=True) may map them."""
    entry = zipfile.ZipInfo(f"{_FOLDER}/{part}", date_time=_TIME)
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # the same on every platform
    entry.file_size = len(data)
    if archive.fp is None:
        raise ValueError("the archive is closed")
    start = archive.fp.tell() + 30 + len(entry.filename) + 4  # a local header, the name, the head of the padding
    entry.extra = struct.pack("<2sH", b"FB", -start % _ALIGNMENT) + bytes(-start % _ALIGNMENT)
    with archive.open(entry, "w") as member:
        member.write(data)


def _pickle(tensors: Mapping[str, np.ndarray], dtype: str) -> bytes:
    """The pickle, protocol 2, without a memo: nothing in it is shared."""
    parts = [_tensor(str(index), np.shape(values), dtype) for index, values in enumerate(tensors.values())]
    if BARE in tensors:
        return b"\x80\2" + parts[0] + b"."
    fields = b"".join(_unicode(name) + part for name, part in zip(tensors, parts, strict=True))
    return b"\x80\2}(" + fields + b"u."


def _tensor(key: str, shape: tuple[int, ...], dtype: str) -> bytes:
    storage = next(name for name, (kind, _) in STORAGES.items() if kind == dtype)
    count, strides = 1, []
    for length in reversed(shape):
        strides.append(count)
        count *= length
    stream = io.BytesIO()
    stream.write(b"ctorch._utils\n_rebuild_tensor_v2\n((")
    stream.write(_unicode("storage") + b"ctorch\n" + storage.encode() + b"\n")
    stream.write(_unicode(key) + _unicode("cpu") + _whole(count) + b"tQK\0")
    for lengths in (shape, strides[::-1]):
        stream.write(b"(" + b"".join(map(_whole, lengths)) + b"t")
    stream.write(b"\x89ccollections\nOrderedDict\n)RtR")
    return stream.getvalue()


def _unicode(text: str) -> bytes:
    raw = text.encode("utf-8")
    return b"X" + struct.pack("<L", len(raw)) + raw


def _whole(value: int) -> bytes:
    return b"J" + struct.pack("<l", value) if value < 2**31 else b"\x8a\x08" + struct.pack("<q", value)
