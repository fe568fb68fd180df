"""PyTorch's .pt files: what we write is read back; what is crafted is refused, in bounded time and memory."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from torch_samples import COUNT, SHAPE, archive, crafted, members, refused, storage, tensor, text

from cogvae_cli.io.foreign import Hints, read_foreign
from cogvae_cli.io.torch_file import BARE, locate_tensors, read_tensor, write_tensors


@pytest.fixture
def floats(rng):
    return rng.normal(size=SHAPE).astype(np.float32)


def test_a_tensor_like_torch_writes_it_is_read(tmp_path, floats):
    found = read_foreign(crafted(tmp_path / "z.pt", tensor(), floats), Hints())
    np.testing.assert_array_equal(found.arrays["latents"], floats.transpose(1, 2, 3, 0))
    assert (found.layout, found.dtype, found.header) == ("CTHW", "float32", None)


def test_a_view_is_read_by_its_offset_and_strides(tmp_path, floats):
    cut = tensor(offset=8, size=(2, 16, 2, 4), stride=(8, 24, 4, 1))  # [T C H W] of frames 1 and 2
    found = read_foreign(crafted(tmp_path / "z.pt", cut, floats), Hints())
    np.testing.assert_array_equal(found.arrays["latents"], floats[:, 1:].transpose(1, 2, 3, 0))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_is_written_is_read_back_to_the_bit(dtype, rng):
    stored = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}[dtype]
    arrays = {name: rng.integers(0, 15000, size).astype(stored) for name, size in (("a", (2, 3)), ("é", (4, 1, 5)))}
    file = io.BytesIO()
    write_tensors(file, arrays, dtype, {"note": "été"})
    found = locate_tensors(file)
    assert found.notes == {"note": "été"}
    assert list(found.tensors) == ["a", "é"]
    for name, values in arrays.items():
        np.testing.assert_array_equal(read_tensor(file, found, found.tensors[name]), values)


def test_equal_tensors_give_equal_bytes_and_storages_are_aligned(floats):
    files = io.BytesIO(), io.BytesIO()
    for file in files:
        write_tensors(file, {BARE: floats}, "float32", {})
    assert files[0].getvalue() == files[1].getvalue()
    found = locate_tensors(files[0])
    assert all(part.offset % 64 == 0 for part in found.storages.values())


def test_a_storage_of_two_gib_or_more_has_its_count_in_eight_bytes(floats):
    from cogvae_cli.io.torch_file import _pickle  # a file of that size is no unit test

    data = _pickle({BARE: np.broadcast_to(np.float32(0), (2**16, 2**16))}, "float32")
    from cogvae_cli.io.torch_pickle import read_pickle

    found = read_pickle(data, {"0": 2**34})
    assert found.shape == (2**16, 2**16)
    assert found.strides == (2**16, 1)


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_call_to_any_function_is_refused_and_not_made(tmp_path, floats, protocol):
    canary = tmp_path / "canary"
    data = pickle.dumps({"latents": Canary(canary)}, protocol)
    path = archive(tmp_path / "z.pt", members(data, floats))
    refused(path, "system" if protocol == 2 else "protocol")
    assert not canary.exists()


def test_a_plain_pickle_is_not_run(tmp_path):
    path = tmp_path / "z.pt"
    path.write_bytes(pickle.dumps(Canary(tmp_path / "canary"), 2))
    refused(path, "no .pt file of torch.save; it is a Python pickle")
    assert not (tmp_path / "canary").exists()


ARGUMENT = text("touch canary") + b"\x85R"


@pytest.mark.parametrize(
    "body",
    [
        b"cbuiltins\neval\n" + ARGUMENT,
        b"cos\nsystem\n" + ARGUMENT,
        b"ctorch\nload\n" + ARGUMENT,
        b"ctorch._utils\n_rebuild_parameter\n" + ARGUMENT,
        b"ctorch._utils._rebuild_tensor_v2\n__globals__\n" + ARGUMENT,
        b"ctorch\nFloatStorage\n" + ARGUMENT,  # known, but no function
        b"ccollections\nOrderedDict\n" + ARGUMENT,  # a call that isn't torch.save's
        text("system") + ARGUMENT,
        b"(" + text("touch canary") + b"ios\nsystem\n",  # INST
        b"(cos\nsystem\n" + text("touch canary") + b"o",  # OBJ
        b"ccollections\nOrderedDict\n)\x81",  # NEWOBJ
        b"ccollections\nOrderedDict\n)R}b",  # BUILD
        b"\x82\x01",  # EXT1
        b"Pos.system\n",  # PERSID in text
        text("os") + text("system") + b"\x93",  # STACK_GLOBAL
        b"N" + text("storage") + b"\x86Q",
        b"\xff",
    ],
)
def test_opcodes_names_and_calls_beyond_the_list_are_refused(tmp_path, floats, body):
    refused(crafted(tmp_path / "z.pt", body, floats), "names|calls|opcode|refers")


HUGE = 2**62


@pytest.mark.parametrize(
    "body",
    [
        tensor(offset=1),
        tensor(offset=COUNT),
        tensor(offset=-1),
        tensor(offset=HUGE),
        tensor(size=(16, 3, 2, 5)),
        tensor(size=(HUGE,) * 8, stride=(0,) * 8),  # would be a view of one value
        tensor(size=(16, 3, 2, HUGE), stride=(0, 0, 0, 0)),
        tensor(size=(16, 3, 2, 8), stride=(24, 8, 4, 0)),
        tensor(size=(16, 3, 2, 0)),
        tensor(size=(-16, -3, 2, 4)),
        tensor(stride=(24, 8, 4, -1)),
        tensor(stride=(-24, 8, 4, 1), offset=360),
        tensor(stride=(HUGE, 8, 4, 1)),
        tensor(stride=(8, 4, 1)),
        tensor(size=(1,) * 9, stride=(1,) * 9),
        tensor(held=storage(COUNT + 1)),
        tensor(held=storage(HUGE)),
        tensor(held=storage(-COUNT)),
        tensor(held=storage(kind=b"ctorch\nDoubleStorage\n")),
        tensor(held=storage(key="1")),
        tensor(held=storage(key="../0")),
        tensor(held=b"N"),
        tensor(end=b"\x89}" + text("hook") + b"Nst"),  # a hook
        tensor(end=b"\x89})" + b"t"),  # metadata, which may mean "negate"
        tensor(end=b"t"),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, floats, body):
    refused(crafted(tmp_path / "z.pt", body, floats), "tensor|storage")


@pytest.mark.parametrize(
    "body",
    [
        b"]" * 30_000 + b"a" * 29_999,  # deep lists
        b")" + b"\x85" * 60_000,  # deep tuples
        b"](" + text("laugh") + b"q\0" + b"h\0h\0\x86q\0" * 7_000 + b"e",  # tuples of tuples: 2^7000 leaves
        b"(" * 60_000,
        b"(" + b"N" * 60_000 + b"t",
        b"X\xff\xff\xff\xff",  # a text of 4 GiB
        b"\x8a\xff" + b"\x7f" * 255,  # a number of 255 bytes
        b"}}Ns",  # a dict as key
        b"r\0\0\0\0",
        b"h\7",
        b"t",
        b"s",
        b"",
        b"c" + b"a" * 60_000,
        b"c" + b"a" * 30_000 + b"\n" + b"b" * 30_000 + b"\n",
        b"N" * 70_000,  # too long
    ],
)
def test_a_pickle_that_is_a_bomb_or_nonsense_is_refused(tmp_path, floats, body):
    refused(crafted(tmp_path / "z.pt", body, floats), "pickle|holds|names|dict")


def test_a_dict_that_holds_itself_is_no_trouble(tmp_path, floats):
    body = b"}q\0" + text("self") + b"h\0s" + text("latents") + tensor() + b"s"
    found = read_foreign(crafted(tmp_path / "z.pt", body, floats), Hints(layout="CTHW"))
    assert found.arrays["latents"].shape == (3, 2, 4, 16)
