"""Crafted .pt files: good ones, and ones with any part replaced by a wrong one."""

from __future__ import annotations

import struct
import time
import zipfile

import pytest
from latents_samples import peak_mib

from cogvae_cli.errors import LatentsError
from cogvae_cli.io.foreign import Hints, read_foreign

SHAPE = (16, 3, 2, 4)
"""[C T H W] of the crafted files."""

COUNT = 16 * 3 * 2 * 4


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<L", len(raw)) + raw


def whole(value):
    raw = value.to_bytes(8, "little", signed=True)
    return b"\x8a\x08" + raw


def lengths(values):
    return b"(" + b"".join(map(whole, values)) + b"t"


def storage(count=COUNT, key="0", kind=b"ctorch\nFloatStorage\n"):
    return b"(" + text("storage") + kind + text(key) + text("cpu") + whole(count) + b"tQ"


def tensor(offset=0, size=SHAPE, stride=(24, 8, 4, 1), held=None, end=b"\x89ccollections\nOrderedDict\n)Rt"):
    """A tensor as torch.save pickles it; each part can be replaced by a wrong one."""
    held = storage() if held is None else held
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + held + whole(offset) + lengths(size) + lengths(stride) + end + b"R"


def members(data, values):
    return {"a/data.pkl": data, "a/byteorder": b"little", "a/data/0": values.tobytes(), "a/version": b"3\n"}


def archive(path, parts, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in parts.items() if isinstance(parts, dict) else parts:
            file.writestr(name, content)
    return path


def crafted(path, body, values):
    return archive(path, members(b"\x80\2" + body + b".", values))


def refused(path, says, hints=Hints(layout="CTHW")):  # noqa: B008 - frozen
    """Reading is refused with one line that says so, quickly and without much memory."""

    def read():
        with pytest.raises(LatentsError, match=says) as caught:
            read_foreign(path, hints)
        assert caught.value.exit_code == 3
        assert "\n" not in caught.value.message
        assert len(caught.value.message) < 400 + len(str(path))

    start = time.monotonic()
    assert peak_mib(read) < 32
    assert time.monotonic() - start < 5
