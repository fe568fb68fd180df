"""Latents of other programs: which array a file holds, what its axes are, and whether it is moments or values.

docs/others-latents.md says what each program stores. Nothing is guessed: where two readings fit, the file is refused
with a hint to give the layout.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cogvae_cli.errors import LatentsError, UsageError
from cogvae_cli.io.foreign_layout import CHANNELS, FORMATS, Form, axes_of, from_thwc, readings, to_thwc
from cogvae_cli.io.json_fields import MalformedError, shown
from cogvae_cli.io.latents_header import LONGEST, MEMBERS, ArrayFacts, LatentsHeader
from cogvae_cli.io.latents_header_json import header_text, parse_header
from cogvae_cli.io.npy import MAGIC, locate_npy, read_npy
from cogvae_cli.io.npz import HEADER
from cogvae_cli.io.safetensors_file import DTYPES, read_layout, write_safetensors
from cogvae_cli.io.stored_array import STORED, Spool, StoredArray, read_rows, to_stored
from cogvae_cli.io.torch_file import BARE, LegacyError, TorchFile, locate_tensors, read_tensor, write_tensors
from cogvae_cli.io.torch_pickle import Tensor

ARRAY = "latents"
"""Name of the array where a file has names: finetrainers' own, and ours."""

_LOGVAR = (-30.0, 20.0)  # diffusers clamps when it samples; a latents file holds clamped ones
_LAYOUT_NOTE, _HEADER_NOTE = "cogvae_layout", "cogvae_header"
_GIVE_LAYOUT = "name its axes with --layout, say BCTHW or TCHW"


@dataclass(frozen=True)
class Hints:
    """What the user says about a file of another program; None where nothing was said."""

    format: str | None = None
    """One of FORMATS."""
    layout: str | None = None
    """Its axes, like `BCTHW`."""
    array: str | None = None
    """Which of its arrays holds the latents."""


@dataclass(frozen=True)
class ForeignLatents:
    """A foreign file's latents, float32 [T H W C] by the names that a latents file gives them, values as stored."""

    arrays: dict[str, np.ndarray]
    dtype: str
    """Of storage: `float32`, `float16` or `bfloat16`; float64 was rounded to float32."""
    layout: str
    format: str | None
    """The format that was named; None where none was."""
    header: LatentsHeader | None
    """What cogvae wrote beside the values, if it wrote the file."""


@dataclass(frozen=True)
class _Found:
    """An array in its file."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]
    """Its values as float32."""


def is_foreign(path: Path) -> bool:
    """Whether the file is of a kind that other programs keep latents in. False for a latents file, and for all else."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
            if head.startswith(b"PK\3\4"):  # a latents file's members are all .npy, a .pt file's never
                return not head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy")
            if head[8:9] == b"{":
                return HEADER not in read_layout(file, 2 * LONGEST + 2**16).metadata
    except (OSError, MalformedError):
        return False  # reading it as a latents file says what is wrong
    return head.startswith((MAGIC, b"\x80\2")) or head[257:].startswith(b"ustar")


def read_foreign(path: Path, hints: Hints) -> ForeignLatents:
    """Reads the latents of another program.

    Raises LatentsError, one line, for a file that is broken, hostile or ambiguous, UsageError for a wrong hint.
    """
    form, layout = form_of(hints.format), None if hints.layout is None else axes_of(hints.layout)
    try:
        with path.open("rb") as file:
            arrays, notes = _locate(file)
            name = _choose(arrays, hints.array or (form.array if form else None))
            axes = _layout(arrays[name].shape, layout or (form.layout if form else None), notes.get(_LAYOUT_NOTE))
            _check_form(arrays[name].shape[axes.index("C")], form, hints.format)
            found = arrays[name]
            members = _members(to_thwc(found.read(), axes))
        header = _own_header(notes, members, found.dtype)
    except LegacyError as error:
        raise LatentsError(f"{path} {error}", error.hint) from error
    except _AmbiguousError as error:
        raise LatentsError(f"{path} {error}", error.hint) from error
    except MalformedError as error:
        raise LatentsError(f"{path} {error}") from error
    except OSError as error:
        raise LatentsError(f"{path} can't be read: {os.strerror(error.errno or 0)}") from error
    return ForeignLatents(members, found.dtype if found.dtype in STORED else "float32", axes, hints.format, header)


def form_of(name: str | None) -> Form | None:
    """The form of a named format. Raises UsageError for a name that is none."""
    if name is None or name in FORMATS:
        return None if name is None else FORMATS[name]
    raise UsageError(f"{name!r} is no format of latents", f"known are {', '.join(FORMATS)}")


def write_foreign(
    path: Path, container: str, form: Form, arrays: Mapping[str, np.ndarray], header: LatentsHeader
) -> None:
    """Writes one file for another program: container `pt`, `npy` or `safetensors`.

    arrays: float32 [T H W C] by the header's members. header: describes these very values; it goes beside them where
    the container has room, so that reading the file back loses nothing. Equal input, equal bytes.
    """
    members = MEMBERS[header.posterior]
    if set(arrays) != set(members) or form.moments != (len(members) == 2):
        raise ValueError(f"got {sorted(arrays)} for {members} and {form}")
    joined = np.concatenate([arrays[name] for name in members], axis=3)
    values = np.ascontiguousarray(from_thwc(to_stored(joined, header.dtype), form.layout))
    facts = {name: _facts(arrays[name], header.dtype) for name in members}
    notes = {_LAYOUT_NOTE: form.layout, _HEADER_NOTE: header_text(header, facts)}
    with path.open("wb") as file:
        if container == "pt":
            write_tensors(file, {form.array or BARE: values}, header.dtype, notes)
        elif container == "npy":
            np.lib.format.write_array(file, values, version=(1, 0), allow_pickle=False)
        else:
            _write_safetensors(file, form.array or ARRAY, values, notes)


class _AmbiguousError(MalformedError):
    """A file that is whole, but doesn't say enough."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def _locate(file: BinaryIO) -> tuple[dict[str, _Found], Mapping[str, str]]:
    """Arrays by name, and cogvae's notes, by what the file's first bytes say it is."""
    head = file.read(16)
    if head.startswith(MAGIC):
        npy = locate_npy(file)
        return {BARE: _Found(npy.shape, npy.dtype, lambda: _float32(read_npy(file, npy), npy.dtype))}, {}
    if head[8:9] == b"{":
        layout = read_layout(file, 2 * LONGEST + 2**16)
        full = {name: array for name, array in layout.tensors.items() if array.shape and array.size}
        return {name: _in_safetensors(file, array) for name, array in full.items()}, layout.metadata
    found = locate_tensors(file)
    return {name: _in_torch(file, found, tensor) for name, tensor in found.tensors.items()}, found.notes


def _in_safetensors(file: BinaryIO, array: StoredArray) -> _Found:
    dtype = next(dtype for dtype, stored in STORED.items() if stored == array.stored)
    return _Found(array.shape, dtype, lambda: read_rows(file, array, 0, array.shape[0]))


def _in_torch(file: BinaryIO, found: TorchFile, tensor: Tensor) -> _Found:
    dtype = tensor.storage.dtype
    return _Found(tensor.shape, dtype, lambda: _float32(read_tensor(file, found, tensor), dtype))


def _choose(arrays: Mapping[str, _Found], name: str | None) -> str:
    """The name of the array that holds the latents: the one that was asked for, the only one, or `latents`."""
    names = ", ".join(shown(known) for known in list(arrays)[:5])
    if name is not None and name not in arrays and list(arrays) != [BARE]:
        raise MalformedError(f"has no array {shown(name)}; it has {names or 'none'}")
    if not arrays:
        raise MalformedError("holds no array of numbers")
    if len(arrays) == 1:
        return next(iter(arrays))
    chosen = name or ARRAY
    if chosen not in arrays:
        raise _AmbiguousError(f"holds {len(arrays)} arrays: {names}", "name the one with the latents with --array")
    return chosen


def _layout(shape: tuple[int, ...], given: str | None, noted: str | None) -> str:
    """The axes of an array: as given, as cogvae noted them, or the only ones that fit its shape."""
    if noted is not None and given not in (None, noted):
        raise MalformedError(f"was written with the axes {shown(noted)}, not {given}")
    if noted is not None or given is not None:
        try:
            axes = axes_of(noted or given or "")
        except UsageError as error:
            raise MalformedError(f"notes wrong axes: {error}") from None
        if len(axes) != len(shape):
            raise MalformedError(f"holds an array of the shape {shown(list(shape))}, which doesn't fit the axes {axes}")
        batch = shape[axes.index("B")] if "B" in axes else 1
        channels = shape[axes.index("C")]
        if batch != 1 or channels not in (CHANNELS, 2 * CHANNELS):
            raise MalformedError(
                f"holds {batch} clip(s) of {channels} channels, read as {axes} from the shape {shown(list(shape))}; "
                f"a latents file holds 1 of {CHANNELS}, or of {2 * CHANNELS} for moments"
            )
        return axes
    fitting = readings(shape)
    if len(fitting) == 1:
        return fitting[0]
    fault = f"could be any of {', '.join(fitting)}" if fitting else f"isn't one clip of {CHANNELS} channels"
    raise _AmbiguousError(f"holds an array of the shape {shown(list(shape))}, which {fault}", _GIVE_LAYOUT)


def _check_form(channels: int, form: Form | None, name: str | None) -> None:
    """Raises where moments were promised and there are values, or the other way round."""
    if form is not None and form.moments != (channels == 2 * CHANNELS):
        held = "moments" if form.moments else "values"
        raise MalformedError(f"has {channels} channels, but a file of {name} holds {held}, so {form.channels}")


def _float32(stored: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":  # the upper half of a float32
        return (stored.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # what a float32 can't hold becomes Inf, which is refused
        return stored.astype(np.float32)


def _members(values: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of a latents file from [T H W C]: C is 16 for values, 32 for a mean and a logvar."""
    finite = np.isfinite(values).all(axis=(1, 2, 3))
    if not finite.all():
        raise MalformedError(f"holds NaN or Inf, first in latent frame {int(np.argmin(finite))}")
    if values.shape[3] == CHANNELS:
        return {ARRAY: np.ascontiguousarray(values)}
    mean, logvar = values[..., :CHANNELS], np.clip(values[..., CHANNELS:], *_LOGVAR)
    return {"mean": np.ascontiguousarray(mean), "logvar": np.ascontiguousarray(logvar)}


def _own_header(notes: Mapping[str, str], members: Mapping[str, np.ndarray], dtype: str) -> LatentsHeader | None:
    """What cogvae noted beside the values, checked against them."""
    if _HEADER_NOTE not in notes:
        return None
    header, facts = parse_header(notes[_HEADER_NOTE])
    if header.dtype != dtype or set(facts) != set(members):
        raise MalformedError(f"holds {dtype} {', '.join(members)}, but what cogvae noted is another file's")
    if any(_facts(members[name], header.dtype) != facts[name] for name in facts):
        raise MalformedError("holds other values than cogvae wrote: their sha256 isn't the one it noted")
    return header


def _facts(values: np.ndarray, dtype: str) -> ArrayFacts:
    time, height, width, channels = values.shape
    digest = hashlib.sha256(to_stored(values, dtype).data.cast("B")).hexdigest()
    return ArrayFacts((time, height, width, channels), digest)


def _write_safetensors(file: BinaryIO, name: str, values: np.ndarray, notes: Mapping[str, str]) -> None:
    if values.dtype.str not in DTYPES.values():
        raise ValueError(f"safetensors of cogvae hold no {values.dtype}")
    spool = Spool(io.BytesIO(values.data.cast("B")), values.shape, values.dtype.str)
    write_safetensors(file, notes, {name: spool})
