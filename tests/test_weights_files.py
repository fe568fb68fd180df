"""Files of weights: what is whole is read as it is stored, and whatever is wrong is one ModelError in one line."""

from __future__ import annotations

import hashlib
import json
import struct

import ml_dtypes
import numpy as np
import pytest
from latents_samples import peak_mib
from safetensors.numpy import load_file, save_file

from cogvae_cli.errors import ModelError
from cogvae_cli.io.hub import find_model
from cogvae_cli.io.weights import ModelFiles, file_hashes, identity, read_config, read_tensors, source_of

CONFIG = {"_class_name": "AutoencoderKLCogVideoX", "scaling_factor": 0.7}


@pytest.fixture
def tensors(rng):
    """Values that float16 and bfloat16 hold exactly, of several ranks."""
    shapes = {"encoder.conv_in.conv.weight": (4, 3, 3, 3, 3), "encoder.conv_in.conv.bias": (4,), "decoder.z": (2, 5)}
    return {key: rng.integers(-100, 100, shape).astype(np.float32) / 64 for key, shape in shapes.items()}


def folder_of(folder, shards, index=None):
    """A vae/ folder with those shards: file name -> tensors."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name, part in shards.items():
        save_file(part, folder / name)
    if index is not None:
        (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


def split(tensors):
    """Two shards, and the index that places the tensors in them."""
    names = ("diffusion_pytorch_model-00001-of-00002.safetensors", "diffusion_pytorch_model-00002-of-00002.safetensors")
    keys = sorted(tensors)
    shards = {names[0]: {key: tensors[key] for key in keys[:1]}, names[1]: {key: tensors[key] for key in keys[1:]}}
    return shards, {key: name for name, part in shards.items() for key in part}


def refused(work, says):
    with pytest.raises(ModelError, match=says) as caught:
        work()
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return caught.value


def test_the_built_in_model_is_read(package):
    files = find_model("tiny")
    tensors = read_tensors(files)
    assert read_config(files).block_out_channels == (16, 32, 32, 64)
    assert sum(value.size for value in tensors.values()) == 2_088_883
    wanted = load_file(package / "assets" / "tiny" / "diffusion_pytorch_model.safetensors")
    assert set(tensors) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_array_equal(tensors[key], value)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16], ids=["f32", "f16", "bf16"])
def test_tensors_keep_the_dtype_they_are_stored_in(tmp_path, tensors, dtype):
    folder = folder_of(
        tmp_path / "vae", {"w.safetensors": {key: value.astype(dtype) for key, value in tensors.items()}}
    )
    found = read_tensors(find_model(str(folder)))
    assert set(found) == set(tensors)
    for key, value in tensors.items():
        assert found[key].dtype == dtype
        np.testing.assert_array_equal(found[key].astype(np.float32), value)


def test_shards_are_read_as_one(tmp_path, tensors):
    shards, index = split(tensors)
    files = find_model(str(folder_of(tmp_path / "vae", shards, index)))
    assert [path.name for path in files.weights] == sorted(shards)
    found = read_tensors(files)
    for key, value in tensors.items():
        np.testing.assert_array_equal(found[key], value)
    assert [name for name, _ in file_hashes(files)] == ["config.json", *sorted(shards)]


def test_identity_is_of_the_numbers_not_of_how_they_are_stored(tmp_path, tensors):
    found = {}
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        folder = folder_of(tmp_path / np.dtype(dtype).name, {"w.safetensors": cast(tensors, dtype)})
        files = find_model(str(folder))
        found[dtype] = source_of(files, read_tensors(files))
    shards, index = split(tensors)
    files = find_model(str(folder_of(tmp_path / "split", shards, index)))
    found["split"] = source_of(files, read_tensors(files))
    assert len({source.identity for source in found.values()}) == 1
    assert len({source.files for source in found.values()}) == 4
    assert identity(dict(reversed(tensors.items()))) == found["split"].identity


def cast(tensors, dtype):
    return {key: value.astype(dtype) for key, value in tensors.items()}


def test_identity_tells_another_number_key_or_shape(tensors):
    first = identity(tensors)
    key = "decoder.z"
    changed = tensors[key].copy()
    changed[1, 2] += 2**-20
    for other in (
        {**tensors, key: changed},
        {**tensors, key: tensors[key].reshape(5, 2)},
        {**tensors, key: tensors[key].T.copy().T[::-1]},
        {("decoder.y" if name == key else name): value for name, value in tensors.items()},
        {name: value for name, value in tensors.items() if name != key},
    ):
        assert identity(other) != first
    assert identity({**tensors, key: np.asfortranarray(tensors[key])}) == first


def test_file_hashes_are_of_the_files_bytes(tmp_path, tensors):
    folder = folder_of(tmp_path / "vae", {"w.safetensors": tensors})
    wanted = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in sorted(folder.iterdir())]
    assert list(file_hashes(find_model(str(folder)))) == wanted


@pytest.mark.parametrize(
    ("name", "dtype"), [("F64", np.float64), ("I32", np.int32), ("U8", np.uint8), ("BOOL", np.bool_), ("I64", np.int64)]
)
def test_a_dtype_that_no_vae_has_is_named(tmp_path, tensors, name, dtype):
    tensors["decoder.z"] = tensors["decoder.z"].astype(dtype)
    files = find_model(str(folder_of(tmp_path / "vae", {"w.safetensors": tensors})))
    refused(lambda: read_tensors(files), rf"'decoder.z' as {name}; only F32, F16, BF16")


def test_a_file_cut_anywhere_is_refused(tmp_path, tensors):
    folder = folder_of(tmp_path / "vae", {"w.safetensors": tensors})
    path = folder / "w.safetensors"
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        refused(lambda: read_tensors(find_model(str(folder))), "truncated|no safetensors|empty")
    path.write_bytes(whole + b"\0")
    refused(lambda: read_tensors(find_model(str(folder))), "1 bytes behind its last tensor")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "a web page"),
        (b"  <html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 862388596\n", "git-lfs pointer"),
        (b"PK\3\4" + bytes(100), "a zip archive, as PyTorch's pickles"),
        (b"\x80\2}q\0.", "a Python pickle"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (bytes(100), "no safetensors file"),
        (struct.pack("<Q", 2**63) + b"{" + bytes(100), "truncated"),
        (struct.pack("<Q", 8 * 2**20) + b"{" + bytes(8 * 2**20), "at most 4194304"),
    ],
)
def test_what_is_no_safetensors_file_is_told_apart(tmp_path, content, says):
    folder = folder_of(tmp_path / "vae", {})
    (folder / "w.safetensors").write_bytes(content)
    error = refused(lambda: read_tensors(find_model(str(folder))), says)
    assert "only safetensors" in error.hint


def test_a_header_that_declares_a_terabyte_is_refused_without_memory(tmp_path):
    entry = {"dtype": "F32", "shape": [2**20, 2**18], "data_offsets": [0, 2**40]}
    text = json.dumps({"a": entry}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    files = ModelFiles("w", None, tmp_path / "config.json", (path,))
    assert peak_mib(lambda: refused(lambda: read_tensors(files), "is truncated")) < 8


def test_a_shard_that_is_missing_is_named(tmp_path, tensors):
    shards, index = split(tensors)
    folder = folder_of(tmp_path / "vae", shards, index)
    files = find_model(str(folder))
    (folder / "diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    refused(lambda: find_model(str(folder)), "names the shard diffusion_pytorch_model-00002-of-00002.safetensors")
    refused(lambda: read_tensors(files), "00002-of-00002.safetensors is missing")


def test_a_tensor_in_two_shards_is_named(tmp_path, tensors):
    shards, index = split(tensors)
    first, second = sorted(shards)
    shards[first]["decoder.z"] = shards[second]["decoder.z"] = tensors["decoder.z"]
    files = find_model(str(folder_of(tmp_path / "vae", shards, index)))
    refused(lambda: read_tensors(files), f"'decoder.z' in both {first} and {second}")


def test_shards_that_do_not_hold_what_the_index_says_are_named(tmp_path, tensors):
    shards, index = split(tensors)
    first, second = sorted(shards)
    wrong = {**index, "encoder.conv_in.conv.bias": first}
    files = find_model(str(folder_of(tmp_path / "a", shards, wrong)))
    refused(lambda: read_tensors(files), f"places 'encoder.conv_in.conv.bias' in {first}, which doesn't hold it")
    short = {key: shard for key, shard in index.items() if key != "encoder.conv_in.conv.bias"}
    files = find_model(str(folder_of(tmp_path / "b", shards, short)))
    refused(lambda: read_tensors(files), f"{second} holds 'encoder.conv_in.conv.bias', which .* doesn't name")


@pytest.mark.parametrize(
    "shard", ["../w.safetensors", "/etc/w.safetensors", "a/../../w.safetensors", "w.bin", "..\\w.safetensors"]
)
def test_an_index_that_points_outside_its_folder_is_refused(tmp_path, tensors, shard):
    save_file(tensors, tmp_path / "w.safetensors")
    folder = folder_of(tmp_path / "vae", {}, dict.fromkeys(tensors, shard))
    refused(lambda: find_model(str(folder)), "no .safetensors file beside it")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("[]", "not an object"),
        ("{}", "weight_map is missing"),
        ('{"weight_map": {}}', "names no tensors"),
        ('{"weight_map": {"a": 1}}', "not a text"),
        ('{"weight_map": {"a": "w.safetensors", "a": "v.safetensors"}}', "'a' twice"),
    ],
)
def test_a_broken_index_is_refused(tmp_path, tensors, text, says):
    folder = folder_of(tmp_path / "vae", {"w.safetensors": tensors}, {})
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(text)
    refused(lambda: find_model(str(folder)), says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "no UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "not an object"),
        (b" " * (5 * 2**20), "too long"),
        (b'{"_class_name": "AutoencoderKL"}', "AutoencoderKL, not AutoencoderKLCogVideoX"),
        (b'{"scaling_factor": NaN}', "NaN"),
        (b'{"use_quant_conv": true}', "use_quant_conv"),
    ],
)
def test_a_broken_config_is_refused(tmp_path, tensors, content, says):
    folder = folder_of(tmp_path / "vae", {"w.safetensors": tensors})
    (folder / "config.json").write_bytes(content)
    refused(lambda: read_config(find_model(str(folder))), says)
