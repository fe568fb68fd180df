"""Latents files that are whole: written as a stream, read back exactly, whole or by chunks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from latents_samples import HEADER, MOMENTS, SAMPLED, SHAPE, peak_mib, values, write
from safetensors import safe_open
from safetensors.numpy import load_file

from cogvae_cli.errors import LatentsError, NonFiniteError, OutputError
from cogvae_cli.io.latents import LatentsWriter, open_latents, read_header, read_latents

HEADERS = pytest.mark.parametrize("header", [HEADER, SAMPLED, MOMENTS], ids=["float32", "bfloat16", "float16"])
KINDS = pytest.mark.parametrize("kind", ["npz", "safetensors"])
TYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@KINDS
@HEADERS
def test_what_was_written_is_read(tmp_path, rng, kind, header):
    arrays = values(rng, header)
    path = write(tmp_path / f"z.{kind}", header, arrays)
    found = read_latents(path)
    assert found.header == header
    assert list(found.arrays) == list(arrays)
    for name, array in arrays.items():
        assert found.arrays[name].dtype == np.float32
        np.testing.assert_array_equal(found.arrays[name], array.astype(TYPES[header.dtype]).astype(np.float32))
    assert read_header(path) == (header, SHAPE)


@KINDS
@HEADERS
def test_the_same_values_and_header_give_the_same_bytes(tmp_path, rng, kind, header):
    arrays = values(rng, header)
    first = write(tmp_path / f"a.{kind}", header, arrays)
    again = write(tmp_path / f"b.{kind}", header, arrays, cuts=(1, 1, 1, 2))
    assert first.read_bytes() == again.read_bytes()


@KINDS
@HEADERS
def test_chunks_put_together_are_the_whole(tmp_path, rng, kind, header):
    path = write(tmp_path / f"z.{kind}", header, values(rng, header))
    whole = read_latents(path)
    for sizes in ((3, 2), (1, 1, 1, 1, 1), (5,), (2,)):
        with open_latents(path) as reader:
            chunks = list(reader.chunks(sizes))
            assert (reader.header, reader.shape, reader.length, reader.sha256) == (header, SHAPE, 5, whole.sha256)
        assert [len(chunk[name]) for chunk in chunks for name in chunk] == [n for n in sizes for _ in whole.arrays]
        for name, array in whole.arrays.items():
            joined = np.concatenate([chunk[name] for chunk in chunks])
            np.testing.assert_array_equal(joined, array[: sum(sizes)])


def test_chunks_past_the_end_are_refused(tmp_path, rng):
    with (
        open_latents(write(tmp_path / "z.npz", HEADER, values(rng))) as reader,
        pytest.raises(ValueError, match="of 5"),
    ):
        list(reader.chunks((3, 3)))


def test_float16_and_bfloat16_round_to_nearest_even(tmp_path):
    steps = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -1 - 2**-8, 3e38, 1e-40, -0.0], np.float32)
    assert rounded(tmp_path, "bfloat16", steps) == [1.0, 1 + 2**-6, 1 + 2**-7, -1.0, 113 * 2.0**121, 2.0**-133, -0.0]
    steps = np.array([1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-20, 65519.0, 2**-25, 3 * 2**-25, -0.0], np.float32)
    assert rounded(tmp_path, "float16", steps) == [1.0, 1 + 2**-9, 1 + 2**-10, 65504.0, 0.0, 2**-23, -0.0]


def rounded(folder, dtype, steps):
    array = np.resize(steps, SHAPE)
    path = write(folder / f"{dtype}.npz", dataclasses.replace(HEADER, dtype=dtype), {"latents": array})
    found = read_latents(path).arrays["latents"].ravel()[: len(steps)]
    assert np.signbit(found).tolist() == np.signbit(steps).tolist()
    return found.tolist()


@pytest.mark.parametrize(("dtype", "value"), [("float16", 65520.0), ("float16", -1e6), ("bfloat16", 3.4e38)])
def test_a_value_that_the_dtype_cannot_hold_is_an_error_never_inf(tmp_path, rng, dtype, value):
    array = values(rng)["latents"]
    array[4, 3, 2, 1] = value
    path = tmp_path / "z.npz"
    with pytest.raises(OutputError, match=re.escape(f"{abs(value):.6g} doesn't fit {dtype}")) as caught:
        write(path, dataclasses.replace(HEADER, dtype=dtype), {"latents": array})
    assert caught.value.hint == "store the latents as float32"
    assert not path.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_are_not_written(tmp_path, rng, value):
    array = values(rng)["latents"]
    array[4, 3, 2, 1] = value
    with pytest.raises(NonFiniteError, match="NaN or Inf"):
        write(tmp_path / "z.npz", HEADER, {"latents": array})


@KINDS
def test_nothing_is_written_before_the_end_and_no_spool_is_seen(tmp_path, rng, kind):
    arrays = values(rng)
    with LatentsWriter(tmp_path / f"z.{kind}", kind, "float32", ("latents",)) as writer:
        writer.append(arrays)
        assert writer.length == 5
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_contradicts_the_values_is_not_written(tmp_path, rng):
    path = tmp_path / "z.npz"
    with pytest.raises(LatentsError, match="can't be stored"):
        write(path, HEADER, values(rng), cuts=(3, 1))
    assert not path.exists()


def test_frames_of_another_size_or_name_cannot_be_appended(tmp_path, rng):
    array = values(rng)["latents"]
    with LatentsWriter(tmp_path / "z.npz", "npz", "float32", ("latents",)) as writer:
        writer.append({"latents": array})
        with pytest.raises(ValueError, match="after ones of"):
            writer.append({"latents": array[:, :3]})
        with pytest.raises(ValueError, match="expected"):
            writer.append({"mean": array})


@HEADERS
def test_numpy_alone_reads_the_npz(tmp_path, rng, header):
    arrays = values(rng, header)
    with np.load(write(tmp_path / "z.npz", header, arrays), allow_pickle=False) as found:
        assert sorted(found.files) == sorted(["header", *arrays])
        facts = json.loads(found["header"].item())["arrays"]
        for name, array in arrays.items():
            raw = found[name]
            stored = array.astype(TYPES[header.dtype])
            np.testing.assert_array_equal(raw.view(np.uint16) if header.dtype == "bfloat16" else raw, bits(stored))
            assert facts[name] == {"shape": list(SHAPE), "sha256": hashlib.sha256(stored.tobytes()).hexdigest()}


def bits(array):
    return array.view(np.uint16) if array.dtype == ml_dtypes.bfloat16 else array


@HEADERS
def test_safetensors_alone_reads_the_other_container(tmp_path, rng, header):
    arrays = values(rng, header)
    path = write(tmp_path / "z.safetensors", header, arrays)
    found = load_file(path)
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == TYPES[header.dtype]
        np.testing.assert_array_equal(found[name], array.astype(TYPES[header.dtype]))
    with safe_open(path, framework="np") as handle:
        assert json.loads(handle.metadata()["header"])["source"]["name"] == header.source.name


@KINDS
def test_both_containers_have_the_same_hash_of_the_values(tmp_path, rng, kind):
    array = values(rng)
    stored = array["latents"].tobytes()
    assert read_latents(write(tmp_path / f"z.{kind}", HEADER, array)).sha256 == hashlib.sha256(stored).hexdigest()
    both = values(rng, MOMENTS)
    digests = [hashlib.sha256(both[name].astype(np.float16).tobytes()).hexdigest() for name in ("mean", "logvar")]
    found = read_latents(write(tmp_path / f"m.{kind}", MOMENTS, both))
    assert found.sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()


def test_a_file_is_recognised_by_its_bytes_not_its_name(tmp_path, rng):
    path = write(tmp_path / "z.npz", HEADER, values(rng))
    other = path.rename(tmp_path / "z.mp4")
    assert read_header(other) == (HEADER, SHAPE)


@KINDS
def test_memory_does_not_grow_with_the_length(tmp_path, kind):
    shape, rate = (8, 64, 64, 16), 8 * 64 * 64 * 16 * 4 / 2**20  # 2 MiB a piece
    plan = dataclasses.replace(HEADER.plan, count=80)
    frames = dataclasses.replace(HEADER.frames, count=9 + 79 * 8, height=512, width=512)
    frames = dataclasses.replace(frames, padded_frames=0, padded_bottom=0, padded_right=0)
    header = dataclasses.replace(HEADER, frames=frames, plan=plan)
    path = tmp_path / f"z.{kind}"

    def store():
        piece = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        with LatentsWriter(path, kind, "float32", ("latents",)) as writer:
            for k in range(20):
                writer.append({"latents": piece + k})
            writer.append({"latents": piece[:1]})
            writer.finish(header)

    def fetch():
        with open_latents(path) as reader:
            assert sum(len(chunk["latents"]) for chunk in reader.chunks((3,) + (2,) * 79)) == 161

    assert peak_mib(store) < 6 * rate
    assert path.stat().st_size > 20 * rate * 2**20
    assert peak_mib(fetch) < 4 * rate


def test_a_zip_beyond_4_gib_is_read(tmp_path, rng):
    path = write(tmp_path / "z.npz", HEADER, values(rng))
    far = tmp_path / "far.npz"
    with zipfile.ZipFile(path) as near, far.open("wb") as file:
        file.write(b"PK\3\4")
        file.seek(5 * 2**30)  # a hole: the file takes next to no space
        with zipfile.ZipFile(file, "w") as archive:
            for entry in near.infolist():
                with archive.open(entry.filename, "w", force_zip64=True) as member:
                    member.write(near.read(entry))
    assert far.stat().st_size > 5 * 2**30
    np.testing.assert_array_equal(read_latents(far).arrays["latents"], read_latents(path).arrays["latents"])


def test_the_writer_chooses_64_bit_fields_by_size():
    from cogvae_cli.io.npz import _entry

    assert _entry("latents", 3 * 2**30).file_size * 1.05 > zipfile.ZIP64_LIMIT
    assert _entry("latents", 2**30).file_size * 1.05 < zipfile.ZIP64_LIMIT


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(LatentsError, match="is no file"):
        read_header(tmp_path)
    with pytest.raises(LatentsError, match="is not there"):
        read_header(tmp_path / "missing.npz")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that can't be read, as Linux has one")
def test_a_file_that_the_system_cannot_read_is_refused():
    with pytest.raises(LatentsError, match="/proc/self/mem can't be read: Input/output error"):
        read_header(Path("/proc/self/mem"))
