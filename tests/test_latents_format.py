"""docs/latents-format.md followed to the letter by a program that shares no code with cogvae, in both directions."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zipfile
from fractions import Fraction

import numpy as np
import pytest
from latents_samples import HEADER, MOMENTS, SAMPLED, SHAPE, values, write

from cogvae_cli.io.latents import read_latents
from cogvae_cli.io.latents_header import TimingHeader
from cogvae_cli.io.weights import identity

EXAMPLE = {
    "format": "cogvae-latents",
    "version": 1,
    "dtype": "float16",
    "posterior": "mean",
    "seed": None,
    "scaling_factor": 0.7,
    "scaled": True,
    "model": {"name": "some/model", "revision": "main", "identity": "0" * 64, "files": {}},
    "frames": {
        "count": 2,
        "height": 15,
        "width": 24,
        "padded_frames": 7,
        "padded_bottom": 1,
        "padded_right": 0,
        "policy": "pad",
        "dropped_frames": 0,
    },
    "plan": {"first": 9, "rest": 8, "count": 1},
    "tiles": None,
    "timing": {"rate": "25/1", "variable": True, "unit": "1/1000", "ticks": [0, 37]},
    "source": {"name": "été.mov", "size": 10, "sha256": "1" * 64},
    "colour": {"matrix": None, "range": "pc", "primaries": None, "transfer": None, "assumed": False},
    "versions": {"cogvae": "none: another program", "jax": "none"},
    "settings": {},
    "arrays": {},
}


def numbers(raw, dtype):
    """A file's values as float32, as the table of dtypes says."""
    if dtype == "bfloat16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)


def foreign_read_npz(path):
    with zipfile.ZipFile(path) as archive:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(file["header"].item())
        raw = {name: file[name] for name in header["arrays"]}
        assert {"header", *raw} == set(file.files)
    for name, facts in header["arrays"].items():
        assert raw[name].dtype.str == {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}[header["dtype"]]
        assert hashlib.sha256(raw[name].tobytes()).hexdigest() == facts["sha256"]
        assert list(raw[name].shape) == facts["shape"]
    return header, {name: numbers(array, header["dtype"]) for name, array in raw.items()}


def foreign_read_safetensors(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    table = json.loads(content[8 : 8 + length])
    metadata = table.pop("__metadata__")
    assert hashlib.sha256(metadata["header"].encode()).hexdigest() == metadata["header_sha256"]
    header = json.loads(metadata["header"])
    assert set(table) == set(header["arrays"])
    arrays = {}
    for name, entry in table.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        assert hashlib.sha256(content[start:end]).hexdigest() == header["arrays"][name]["sha256"]
        stored = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[entry["dtype"]]
        raw = np.frombuffer(content[start:end], stored).reshape(entry["shape"])
        arrays[name] = numbers(raw, header["dtype"])
    return header, arrays


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
@pytest.mark.parametrize("header", [HEADER, SAMPLED, MOMENTS], ids=["mean", "sample", "moments"])
def test_another_program_reads_what_cogvae_wrote(tmp_path, rng, kind, header):
    path = write(tmp_path / f"z.{kind}", header, values(rng, header))
    fields, arrays = {"npz": foreign_read_npz, "safetensors": foreign_read_safetensors}[kind](path)
    ours = read_latents(path)
    assert set(arrays) == set(ours.arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, ours.arrays[name])
    frames = fields["frames"]
    encoded = frames["count"] + frames["padded_frames"]
    height, width = frames["height"] + frames["padded_bottom"], frames["width"] + frames["padded_right"]
    assert (-(-encoded // 4), height // 8, width // 8, 16) == SHAPE
    assert Fraction(fields["timing"]["rate"]) == header.timing.rate
    if fields["timing"]["variable"]:
        unit = Fraction(fields["timing"]["unit"])
        assert tuple(tick * unit for tick in fields["timing"]["ticks"]) == header.timing.times


def foreign_fields(array):
    facts = {"shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
    return {**EXAMPLE, "arrays": {"latents": facts}}


def foreign_write_npz(path, array):
    text = json.dumps(foreign_fields(array), ensure_ascii=False, indent=1)
    np.savez(path, latents=array, header=np.array(text))


def foreign_write_safetensors(path, array):
    text = json.dumps(foreign_fields(array), ensure_ascii=False)
    metadata = {"header": text, "header_sha256": hashlib.sha256(text.encode()).hexdigest(), "format": "np"}
    entry = {"dtype": "F16", "shape": list(array.shape), "data_offsets": [0, array.nbytes]}
    raw = json.dumps({"latents": entry, "__metadata__": metadata}, ensure_ascii=False).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + array.tobytes())


@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_cogvae_reads_what_another_program_wrote(tmp_path, rng, kind):
    array = rng.normal(size=(3, 2, 3, 16)).astype("<f2")
    path = tmp_path / f"z.{kind}"
    {"npz": foreign_write_npz, "safetensors": foreign_write_safetensors}[kind](path, array)
    found = read_latents(path)
    np.testing.assert_array_equal(found.arrays["latents"], array.astype(np.float32))
    assert found.header.source.name == "été.mov"
    assert found.header.timing == TimingHeader(Fraction(25), True, (Fraction(0), Fraction(37, 1000)))
    assert found.header.scaled


def test_another_program_computes_the_same_identity(rng):
    tensors = {"b.weight": rng.normal(size=(2, 3)).astype(np.float16), "a.é": rng.normal(size=5).astype(np.float32)}
    sha = hashlib.sha256()
    for key in sorted(tensors, key=lambda key: key.encode()):
        value = tensors[key]
        sha.update(struct.pack("<I", len(key.encode())) + key.encode())
        sha.update(struct.pack(f"<I{value.ndim}Q", value.ndim, *value.shape))
        sha.update(value.astype("<f4").tobytes())
    assert identity(tensors) == sha.hexdigest()


def test_the_specification_names_every_field_and_its_example_is_whole(tmp_path, root, rng):
    page = (root / "docs" / "latents-format.md").read_text("utf-8")
    fields = json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])
    shape = fields["arrays"]["latents"]["shape"]
    array = np.arange(np.prod(shape), dtype="<f4").reshape(shape)
    fields["arrays"]["latents"]["sha256"] = hashlib.sha256(array.tobytes()).hexdigest()
    np.savez(tmp_path / "z.npz", latents=array, header=np.array(json.dumps(fields)))
    found = read_latents(tmp_path / "z.npz")
    assert found.header.frames.count == 50
    write(tmp_path / "w.npz", SAMPLED, values(rng))
    for name in names(foreign_read_npz(tmp_path / "w.npz")[0]):
        assert f"`{name}`" in page, name


def names(value):
    for name, inner in value.items():
        yield name
        if isinstance(inner, dict) and name not in ("files", "settings"):
            yield from names(inner)
