"""Latents files that are broken or hostile: LatentsError, one line, in bounded time and memory."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest
from latents_samples import HEADER, MOMENTS, SAMPLED, SHAPE, peak_mib, values, write

from cogvae_cli.errors import LatentsError
from cogvae_cli.io.latents import read_header, read_latents


def refused(path, says):
    """Reading the file is refused with one line that says so, quickly and without much memory."""

    def read():
        with pytest.raises(LatentsError, match=says) as caught:
            read_latents(path)
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400 + len(str(path))
        assert str(path) in str(caught.value)

    start = time.monotonic()
    assert peak_mib(read) < 64
    assert time.monotonic() - start < 5


@pytest.fixture
def members(tmp_path, rng):
    """A good file's members: name in the archive -> bytes."""
    with zipfile.ZipFile(write(tmp_path / "good.npz", HEADER, values(rng))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header_bytes(descr, shape, fortran=False):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return stream.getvalue()


def archive_of(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize("header", [HEADER, SAMPLED, MOMENTS], ids=["float32", "bfloat16", "float16"])
def test_a_file_cut_anywhere_is_refused(tmp_path, rng, kind, header):
    path = write(tmp_path / f"z.{kind}", header, values(rng, header))
    whole = path.read_bytes()
    for length in (*range(40), *range(40, len(whole), 499), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(LatentsError) as caught:
            read_latents(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_a_bit_that_flipped_anywhere_is_noticed_or_changes_nothing(tmp_path, rng, kind):
    path = write(tmp_path / f"z.{kind}", HEADER, values(rng))
    good, whole = read_latents(path), path.read_bytes()
    survived, lines = 0, []
    for place in (*range(200), *range(200, len(whole), 101), *range(len(whole) - 400, len(whole))):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            found = read_latents(path)
        except LatentsError as error:
            lines.append(str(error))
            continue
        survived += 1
        assert found.header == good.header
        np.testing.assert_array_equal(found.arrays["latents"], good.arrays["latents"])
    assert not any("\n" in line for line in lines)
    assert survived <= {"npz": 80, "safetensors": 0}[kind]  # zip has fields without meaning here, as times (69 found)


def test_a_flipped_bit_in_the_values_is_told_by_the_check_sum(tmp_path, rng):
    path = write(tmp_path / "z.npz", HEADER, values(rng))
    flip(path, path.stat().st_size - 1000)
    refused(path, "CRC-32")
    read_header(path)  # which doesn't read the values


def test_changed_values_with_a_right_check_sum_are_told_by_the_sha256(tmp_path, members):
    members["latents.npy"] = members["latents.npy"][:-1] + b"\x3f"
    refused(archive_of(tmp_path / "z.npz", members), "sha256 of 'latents'")


def test_a_flipped_bit_in_safetensors_is_told_by_the_sha256(tmp_path, rng):
    path = write(tmp_path / "z.safetensors", HEADER, values(rng))
    flip(path, path.stat().st_size - 1)
    refused(path, "sha256 of 'latents'")


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_refused(tmp_path, members, method):
    refused(archive_of(tmp_path / "z.npz", members, method), "compressed")


def test_a_compressed_bomb_is_refused(tmp_path, members):
    members["latents.npy"] = header_bytes("<f4", (2**18, 4, 6, 16)) + bytes(2**18 * 4 * 6 * 16)
    refused(archive_of(tmp_path / "z.npz", members, zipfile.ZIP_DEFLATED), "compressed")


def test_a_member_that_declares_64_gib_is_refused(tmp_path, members):
    members["latents.npy"] = header_bytes("<f4", (2**20, 64, 16, 16)) + b"few"
    refused(archive_of(tmp_path / "z.npz", members), "declares 68719476736 bytes, but holds 3")


@pytest.mark.parametrize("field", ["local", "directory"])
def test_a_zip_entry_that_claims_more_than_the_file_is_refused(tmp_path, members, field):
    path = archive_of(tmp_path / "z.npz", members)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\1\2") + 20 if field == "directory" else content.rindex(b"PK\3\4") + 26
    content[place : place + 8 if field == "directory" else place + 2] = b"\xf0" * (8 if field == "directory" else 2)
    path.write_bytes(content)
    refused(path, "aren't there|another member|damaged")


def test_an_archive_of_many_members_is_refused_before_its_directory_is_read(tmp_path):
    path = archive_of(tmp_path / "z.npz", {f"{k}.npy": b"" for k in range(20_000)})
    refused(path, "20000 members")


def test_a_second_directory_with_64_bit_counts_is_bounded_too(tmp_path, members):
    path = archive_of(tmp_path / "z.npz", members)
    content = path.read_bytes()
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2**40, 2**40, 2**40, 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(content) - 22, 1)
    path.write_bytes(content[:-22] + end64 + locator + content[-22:])
    refused(path, "1099511627776 members")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice_is_refused(tmp_path, members):
    path = tmp_path / "z.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("header.npy", "latents.npy", "latents.npy"):
            archive.writestr(name, members[name])
    refused(path, "two members 'latents'")


@pytest.mark.parametrize("name", ["../evil.npy", "latents", "LATENTS.npy", "data.pkl"])
def test_a_member_of_another_name_is_refused(tmp_path, members, name):
    refused(archive_of(tmp_path / "z.npz", {**members, name: b"x"}), "no latents file has")


def test_overlapping_members_are_refused(tmp_path, members):
    path = archive_of(tmp_path / "z.npz", {"header.npy": members["header.npy"], "mean.npy": b"", "logvar.npy": b""})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2") + 20
    size = len(members["header.npy"]) + 60
    content[entry : entry + 8] = struct.pack("<2L", size, size)
    path.write_bytes(content)
    refused(path, "aren't there")


def test_bytes_behind_the_archive_are_refused(tmp_path, members):
    path = archive_of(tmp_path / "z.npz", members)
    path.write_bytes(path.read_bytes() + b"more")
    refused(path, "something follows")


class Canary:
    """Leaves a trace if a reader unpickles it."""

    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('canary').touch()",)


@pytest.mark.parametrize("name", ["latents.npy", "header.npy"])
def test_a_pickle_is_never_run(tmp_path, monkeypatch, members, name):
    monkeypatch.chdir(tmp_path)
    members[name] = npy(np.array(Canary(), dtype=object))
    refused(archive_of(tmp_path / "z.npz", members), "of dtype object|shape")
    pure = tmp_path / "z.pkl"
    pure.write_bytes(pickle.dumps(Canary()))
    refused(pure, "Python pickle")
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no .npy array"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "no .npy array"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<L", 2**32 - 1) + b"(" * 20_000, "no .npy array"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000, "no .npy array"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"-" * 9000, "no .npy array"),
        (b"\x93NUMPY\x03\x00" + struct.pack("<L", 4) + b"{}  ", "no .npy array"),
        (header_bytes("<f8", SHAPE), "dtype float64"),
        (header_bytes(">f4", SHAPE), "dtype >f4"),
        (header_bytes("<i8", SHAPE), "dtype int64"),
        (header_bytes([("a", "<f4")], SHAPE), "dtype"),
        (header_bytes("<f4", SHAPE, fortran=True), "Fortran order"),
        (header_bytes("<f4", (5, 4, 6, -16)), "of shape"),
        (header_bytes("<f4", ()) + bytes(4), r"float32|<f4 \[\]"),
        (header_bytes("<f4", (5, 4, 96)) + bytes(7680), r"<f4 \[5, 4, 96\]"),
        (header_bytes("<f2", SHAPE) + bytes(3840), "header says float32"),
        (header_bytes("<f4", SHAPE) + bytes(7679), "declares 7680 bytes, but holds 7679"),
        (header_bytes("<f4", SHAPE) + bytes(7681), "declares 7680 bytes, but holds 7681"),
    ],
)
def test_an_array_that_is_not_what_the_header_says_is_refused(tmp_path, members, content, says):
    refused(archive_of(tmp_path / "z.npz", {**members, "latents.npy": content}), says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (npy(np.zeros(3, "<U5")), "not one unicode text"),
        (npy(np.array(b"bytes")), "not one unicode text"),
        (npy(np.array("no json")), "not JSON"),
        (npy(np.array('{"format": NaN}')), "NaN"),
        (npy(np.array("{}")), "header.format is missing"),
        (header_bytes("<U9", ()) + b"\xff" * 36, "no unicode text"),
        (header_bytes("<U100000000", ()) + b"x", "declares 400000000 bytes"),
    ],
)
def test_a_header_that_is_no_json_text_is_refused(tmp_path, members, content, says):
    refused(archive_of(tmp_path / "z.npz", {**members, "header.npy": content}), says)


def test_a_header_beyond_its_bound_is_refused(tmp_path, members):
    path = tmp_path / "z.npz"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("header.npy", "w") as member:
            member.write(header_bytes(f"<U{17 * 2**20}", ()))
            for _ in range(17):
                member.write(bytes(4 * 2**20))
        archive.writestr("latents.npy", members["latents.npy"])
    refused(path, "at most 67108864 are read")


@pytest.mark.parametrize(
    ("absent", "says"), [("header.npy", "not a latents file of cogvae"), ("latents.npy", "names latents")]
)
def test_a_missing_member_is_named(tmp_path, members, absent, says):
    del members[absent]
    refused(archive_of(tmp_path / "z.npz", members), says)


def test_values_that_are_not_finite_name_their_frame(tmp_path, members):
    array = np.ones(SHAPE, np.float32)
    array[3, 1, 1, 1] = np.inf
    text = json.loads(np.load(io.BytesIO(members["header.npy"])).item())
    text["arrays"]["latents"]["sha256"] = hashlib.sha256(array.tobytes()).hexdigest()
    members = {"header.npy": npy(np.array(json.dumps(text))), "latents.npy": npy(array)}
    refused(archive_of(tmp_path / "z.npz", members), "NaN or Inf in 'latents', first in latent frame 3")


EMPTY = {"header": "{}", "header_sha256": hashlib.sha256(b"{}").hexdigest()}


def safetensors(text, size=0):
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(size)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (safetensors("{}"), "no 'header' in its metadata"),
        (safetensors("{nonsense}"), "not JSON"),
        (safetensors(b"{\xff}"), "no UTF-8"),
        (safetensors('{"__metadata__": {"header": 1}}'), "not a text"),
        (safetensors('{"__metadata__": {"header": "{}"}}'), "the sha256 of its header"),
        (safetensors(json.dumps({"__metadata__": EMPTY})), "header.format is missing"),
        (safetensors('{"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}', 8), "as F64"),
        (safetensors('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}', 8), "the bytes"),
        (safetensors('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}', 12), "gap or an overlap"),
        (safetensors('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', 9), "1 bytes behind"),
        (safetensors('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', 7), "truncated"),
        (
            safetensors('{"a": {"dtype": "F32", "shape": [281474976710656, 16], "data_offsets": [0, 8]}}', 8),
            "the bytes",
        ),
        (safetensors("{" + "[" * 100_000), "not JSON|nested"),
        (struct.pack("<Q", 2**60) + b"{}", "truncated"),
        (struct.pack("<Q", 99) + b"hello", "no safetensors file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git-lfs pointer"),
        (b"\0\0\0\x18ftypmp42" + bytes(500), "a video"),
        (b"PK\3\4", "no zip directory"),
        (b"", "empty"),
    ],
)
def test_what_is_no_latents_file_is_told_apart(tmp_path, content, says):
    path = tmp_path / "z.safetensors"
    path.write_bytes(content)
    refused(path, says)


def test_a_huge_safetensors_header_is_refused(tmp_path):
    path = tmp_path / "z.safetensors"
    path.write_bytes(safetensors("{" + " " * (40 * 2**20)))
    refused(path, "at most 33619968 are read")


def test_a_crc_of_the_header_is_checked(tmp_path, members):
    path = archive_of(tmp_path / "z.npz", members)
    content = bytearray(path.read_bytes())
    place = content.index("clip".encode("utf-32-le"))
    content[place] = ord("k")
    path.write_bytes(content)
    refused(path, "header's check sum")
