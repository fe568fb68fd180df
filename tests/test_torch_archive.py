"""The zip archive around a .pt file's pickle: odd members, lies, bombs and damage are refused."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from torch_samples import COUNT, SHAPE, archive, crafted, members, refused, storage, tensor, text

from cogvae_cli.errors import LatentsError
from cogvae_cli.io.foreign import Hints, read_foreign
from cogvae_cli.io.json_fields import MalformedError
from cogvae_cli.io.torch_file import LegacyError, locate_tensors


@pytest.fixture
def floats(rng):
    return rng.normal(size=SHAPE).astype(np.float32)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda parts: [*parts.items(), ("a/data/0", bytes(COUNT * 4))], "two members"),
        (lambda parts: [*parts.items(), ("a/../../evil", b"x")], "evil"),
        (lambda parts: [*parts.items(), ("a/data/../0", b"x")], "member"),
        (lambda parts: [*parts.items(), ("/etc/passwd", b"x")], "passwd"),
        (lambda parts: [*parts.items(), ("a/code/run.py", b"x")], "run.py"),
        (lambda parts: [*parts.items(), ("b/data/1", b"x")], "folders"),
        (lambda parts: [(name.replace("a/", "../"), content) for name, content in parts.items()], "member"),
        (lambda parts: [item for item in parts.items() if "pkl" not in item[0]], "data.pkl"),
        (lambda parts: [item for item in parts.items() if "data/0" not in item[0]], "storage"),
        (lambda parts: {**parts, "a/byteorder": b"big"}, "big-endian"),
        (lambda parts: {**parts, "a/data/0": parts["a/data/0"][:-1]}, "storage of 1536 bytes, but holds 1535"),
        (lambda parts: [*parts.items(), *((f"a/data/{index}", b"") for index in range(1, 400))], "members"),
        (lambda parts: [*parts.items(), *((f"a/data/{index:01000}", b"") for index in range(1, 100))], "members"),
    ],
)
def test_an_archive_of_odd_members_is_refused(tmp_path, floats, change, says):
    path = archive(tmp_path / "z.pt", change(members(b"\x80\2" + tensor() + b".", floats)))
    refused(path, says)


def test_a_deflate_bomb_is_refused_unopened(tmp_path):
    parts = members(b"\x80\2" + tensor(held=storage(2**22)) + b".", np.zeros(2**22, np.float32))
    refused(archive(tmp_path / "z.pt", parts, zipfile.ZIP_DEFLATED), "compressed")


def test_members_that_lie_about_their_size_or_place_are_refused(tmp_path, floats):
    path = crafted(tmp_path / "z.pt", tensor(), floats)
    whole_file = bytearray(path.read_bytes())
    entry = whole_file.rindex(b"PK\1\2", 0, whole_file.rindex(b"a/data/0"))
    for at, value in ((20, 2**31), (24, 2**31), (42, 2**31), (42, 0)):  # packed size, size, place
        broken = bytearray(whole_file)
        struct.pack_into("<L", broken, entry + at, value)
        path.write_bytes(broken)
        refused(path, "aren't there|compressed|no member|another member")


def test_a_file_cut_anywhere_is_refused(tmp_path, floats):
    path = crafted(tmp_path / "z.pt", tensor(), floats)
    content = path.read_bytes()
    for length in (*range(0, len(content), 97), len(content) - 1):
        path.write_bytes(content[:length])
        refused(path, ".")


def test_a_flipped_bit_is_noticed(tmp_path, floats):
    path = crafted(tmp_path / "z.pt", tensor(), floats)
    content = bytearray(path.read_bytes())
    content[content.index(floats.tobytes()) + 100] ^= 1
    path.write_bytes(content)
    refused(path, "check sum")


def outcome(path):
    """What reading the file says; anything but a LatentsError goes through."""
    try:
        return str(read_foreign(path, Hints(layout="CTHW")).arrays["latents"].shape)
    except LatentsError as error:
        return error.message


def test_random_damage_ends_in_one_line_or_in_latents(tmp_path, floats, rng):
    path = crafted(tmp_path / "z.pt", b"}" + text("latents") + tensor() + b"s", floats)
    content = path.read_bytes()
    pickled = content.index(b"\x80\2}")
    outcomes = set()
    for _ in range(400):
        broken = bytearray(content)
        for at in rng.integers(0, len(content), 2):
            broken[at] = rng.integers(256)
        broken[pickled + int(rng.integers(230))] = rng.integers(256)
        broken[14:18] = bytes(4)  # no check sum of the pickle, so that the damage reaches the machine
        entry = broken.find(b"PK\1\2")
        broken[entry + 16 : entry + 20] = bytes(4)
        path.write_bytes(broken)
        outcomes.add(outcome(path))
    assert len(outcomes) > 10
    assert not [line for line in outcomes if "\n" in line]


@pytest.mark.parametrize("head", [b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\2M\xe9\3.", bytes(257) + b"ustar\0"])
def test_the_forms_before_pytorch_1_6_are_refused_with_the_way_to_convert_them(tmp_path, head):
    path = tmp_path / "z.pt"
    path.write_bytes(head + bytes(1000))
    with pytest.raises(LatentsError, match=r"before PyTorch 1\.6") as caught:
        read_foreign(path, Hints())
    assert "torch.save(torch.load(path, weights_only=True), path)" in str(caught.value.hint)
    with pytest.raises(LegacyError), path.open("rb") as file:
        locate_tensors(file)


@pytest.mark.parametrize(
    ("kind", "itemsize"), [(b"LongStorage", 8), (b"ByteStorage", 1), (b"BoolStorage", 1), (b"ShortStorage", 2)]
)
def test_latents_that_are_no_floats_are_refused(tmp_path, kind, itemsize, rng):
    values = rng.integers(0, 2, COUNT * itemsize, np.uint8)
    path = crafted(tmp_path / "z.pt", tensor(held=storage(kind=b"ctorch\n" + kind + b"\n")), values)
    refused(path, "dtype")


def test_a_name_of_the_list_can_not_be_the_result(tmp_path, floats):
    refused(crafted(tmp_path / "z.pt", b"ctorch\nFloatStorage\n", floats), "holds a Name")
    with pytest.raises(MalformedError, match="protocol"):
        locate_tensors(io.BytesIO(archive(tmp_path / "y.pt", members(b"\x80\5N.", floats)).read_bytes()))
