"""The pickle inside a .pt file, read by a machine of our own that can build tensors' facts and nothing else.

It knows the opcodes that torch.save needs for tensors in dicts, lists and tuples, and three names. It imports nothing
and calls nothing: a name is kept as a name, and the two functions that may be called stand for checks in here.
What it builds is bounded by the pickle's length, and nothing it builds is ever walked through.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cogvae_cli.io.json_fields import MalformedError, shown

LONGEST = 2**16
"""Bytes of a pickle that are read; that of one tensor has about 200."""

STORAGES: Mapping[str, tuple[str, int]] = {
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "DoubleStorage": ("float64", 8),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}
"""dtype and bytes of a value, by PyTorch's name of a storage."""

_REBUILD = "torch._utils._rebuild_tensor_v2"
_ORDERED = "collections.OrderedDict"
_NAMES = {_REBUILD, _ORDERED, *(f"torch.{name}" for name in STORAGES)}
_AXES = 8  # most axes of a tensor


@dataclass(frozen=True)
class Name:
    """A name that the pickle mentions. What it names is never looked up."""

    text: str


@dataclass(frozen=True)
class Storage:
    """A run of values in the archive, checked to be there."""

    key: str
    dtype: str
    itemsize: int
    count: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, checked to lie inside; offset and strides count values, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def span(self) -> int:
        """Values of the storage from the first that the view touches to the last."""
        return 1 + sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True))


def read_pickle(data: bytes, storages: Mapping[str, int]) -> object:
    """What the pickle holds, its tensors as Tensor. `storages` gives the bytes of each storage in the archive, by key.

    Raises MalformedError for any opcode, name or call beyond what tensors need, and for a tensor outside its storage.
    """
    if len(data) > LONGEST:
        raise MalformedError(f"has a pickle of {len(data)} bytes; at most {LONGEST} are read")
    return _Machine(data, storages).run()


class _Machine:
    """One pickle being read: its bytes, a stack of values with marks on it, and the memo."""

    def __init__(self, data: bytes, storages: Mapping[str, int]) -> None:
        self._data, self._at = data, 0
        self._storages = storages
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}

    def run(self) -> object:
        if self.take(2) != b"\x80\2":
            raise MalformedError("has a pickle of another protocol than 2, which torch.save writes")
        while (code := self.take(1)) != b".":
            step = _STEPS.get(code)
            if step is None:
                raise MalformedError(f"has the pickle opcode {code!r} at byte {self._at - 1}, which no tensor needs")
            step(self)
        value = self.pop()
        if self._stack or self._at != len(self._data):
            raise MalformedError("has a pickle that doesn't end where it stops")
        return value

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise MalformedError("has a pickle that ends too early")
        self._at += count
        return part

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def line(self) -> str:
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise MalformedError("has a pickle that ends too early")
        return self.take(end + 1 - self._at)[:-1].decode("latin-1")

    def push(self, value: object) -> None:
        self._stack.append(value)

    def pop(self) -> object:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise MalformedError("has a pickle that takes more values than it made")
        return self._stack.pop()

    def pop_many(self, count: int) -> tuple[object, ...]:
        values = [self.pop() for _ in range(count)]
        return tuple(reversed(values))

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def pop_marked(self) -> list[object]:
        if not self._marks:
            raise MalformedError("has a pickle that lacks a mark")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def remember(self, index: int) -> None:
        value = self.pop()
        self.push(value)
        self._memo[index] = value

    def recall(self, index: int) -> None:
        if index not in self._memo:
            raise MalformedError(f"has a pickle that recalls value {index}, which it never made")
        self.push(self._memo[index])

    def text(self) -> None:
        try:
            self.push(self.take(self.number("<L")).decode("utf-8"))
        except UnicodeDecodeError:
            raise MalformedError("has a pickle with a text that is no UTF-8") from None

    def long(self) -> None:
        length = self.number("<B")
        if length > 8:
            raise MalformedError(f"has a pickle with a number of {length} bytes")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def name(self) -> None:
        text = f"{self.line()}.{self.line()}"
        if text not in _NAMES:
            raise MalformedError(f"names {shown(text)}, which no latents need; nothing of it was run")
        self.push(Name(text))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(arguments, tuple) or not isinstance(function, Name):
            raise MalformedError("calls what is no function; nothing of it was run")
        if function.text == _REBUILD:
            self.push(_tensor(arguments))
        elif function.text == _ORDERED and not arguments:
            self.push({})
        else:
            raise MalformedError(f"calls {function.text} with {len(arguments)} arguments; nothing of it was run")

    def storage(self) -> None:
        self.push(_storage(self.pop(), self._storages))

    def set_items(self, items: list[object]) -> None:
        target = self.pop()
        if not isinstance(target, dict) or len(items) % 2:
            raise MalformedError("has a pickle that puts fields where there is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise MalformedError("has a dict whose keys are no texts")
            target[key] = value
        self.push(target)

    def append(self, items: list[object]) -> None:
        target = self.pop()
        if not isinstance(target, list):
            raise MalformedError("has a pickle that appends where there is no list")
        target.extend(items)
        self.push(target)


_STEPS: Mapping[bytes, Callable[[_Machine], None]] = {
    b"(": _Machine.mark,
    b")": lambda machine: machine.push(()),
    b"}": lambda machine: machine.push({}),
    b"]": lambda machine: machine.push([]),
    b"N": lambda machine: machine.push(None),
    b"\x88": lambda machine: machine.push(True),
    b"\x89": lambda machine: machine.push(False),
    b"K": lambda machine: machine.push(machine.number("<B")),
    b"M": lambda machine: machine.push(machine.number("<H")),
    b"J": lambda machine: machine.push(machine.number("<l")),
    b"G": lambda machine: machine.push(machine.number(">d")),
    b"\x8a": _Machine.long,
    b"X": _Machine.text,
    b"t": lambda machine: machine.push(tuple(machine.pop_marked())),
    b"\x85": lambda machine: machine.push(machine.pop_many(1)),
    b"\x86": lambda machine: machine.push(machine.pop_many(2)),
    b"\x87": lambda machine: machine.push(machine.pop_many(3)),
    b"q": lambda machine: machine.remember(machine.number("<B")),
    b"r": lambda machine: machine.remember(machine.number("<L")),
    b"h": lambda machine: machine.recall(machine.number("<B")),
    b"j": lambda machine: machine.recall(machine.number("<L")),
    b"c": _Machine.name,
    b"Q": _Machine.storage,
    b"R": _Machine.call,
    b"s": lambda machine: machine.set_items(list(machine.pop_many(2))),
    b"u": lambda machine: machine.set_items(machine.pop_marked()),
    b"a": lambda machine: machine.append([machine.pop()]),
    b"e": lambda machine: machine.append(machine.pop_marked()),
}
"""What each opcode does; there are no others."""


def _storage(value: object, storages: Mapping[str, int]) -> Storage:
    """A persistent id: ('storage', type, key, device, count). The archive must have that many values under the key."""
    match value:
        case ("storage", Name(text=kind), str(key), str(), int(count)) if kind.removeprefix("torch.") in STORAGES:
            dtype, itemsize = STORAGES[kind.removeprefix("torch.")]
        case _:
            raise MalformedError("refers to something outside that is no storage")
    if key not in storages:
        raise MalformedError(f"has no storage {shown(key)}, which its pickle refers to")
    if count < 0 or count * itemsize > storages[key]:
        raise MalformedError(f"declares a storage of {count * itemsize} bytes, but holds {storages[key]}")
    return Storage(key, dtype, itemsize, count)


def _tensor(arguments: tuple[object, ...]) -> Tensor:
    """What _rebuild_tensor_v2 is called with: storage, offset, size, stride, requires_grad, hooks[, metadata]."""
    match arguments:
        case (Storage() as storage, int(offset), tuple(size), tuple(stride), bool(), dict(hooks)) if not hooks:
            pass
        case (Storage() as storage, int(offset), tuple(size), tuple(stride), bool(), dict(hooks), None) if not hooks:
            pass
        case _:
            raise MalformedError("rebuilds a tensor from something else than a storage, an offset, a size and strides")
    shape, strides = _lengths(size), _lengths(stride)
    if len(shape) != len(strides) or len(shape) > _AXES or offset < 0:
        raise MalformedError(f"has a tensor of {len(shape)} axes with {len(strides)} strides from value {offset} on")
    tensor, values = Tensor(storage, offset, shape, strides), 1
    for length in shape:
        values *= length
    if values == 0 or values > storage.count or offset + tensor.span > storage.count:
        raise MalformedError(
            f"has a tensor of size {shown(list(shape))}, strides {shown(list(strides))} from value {offset} on, "
            f"but its storage holds {storage.count} values"
        )
    return tensor


def _lengths(values: tuple[object, ...]) -> tuple[int, ...]:
    lengths = tuple(value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 0)
    if len(lengths) != len(values):
        raise MalformedError("has a tensor with a negative size or stride")
    return lengths
