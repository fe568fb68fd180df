"""Reading JSON that came from outside: strict syntax, and objects taken apart field by field."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import NoReturn

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHOWN = 60  # characters of a wrong value that an error shows


class MalformedError(ValueError):
    """A file that doesn't keep to its format. One line; the caller puts the file's name before it."""


def shown(value: object) -> str:
    """The value as an error shows it: on one line, shortened."""
    try:
        text = repr(value)
    except ValueError:  # an integer with more digits than Python prints
        text = "a huge number"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def parse_json(text: str, what: str) -> object:
    """Parses JSON as its standard has it: no NaN or Infinity, no field twice in an object.

    Raises MalformedError, also for nesting that is too deep and numbers that are too long.
    """

    def constant(name: str) -> NoReturn:
        raise MalformedError(f"{what} holds {name}, which is no JSON number")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise MalformedError(f"{what} holds the field {shown(twice)} twice")
        return fields

    try:
        value: object = json.loads(text, parse_constant=constant, object_pairs_hook=unique)
    except MalformedError:
        raise
    except RecursionError:
        raise MalformedError(f"{what} is nested too deeply") from None
    except ValueError as error:
        raise MalformedError(f"{what} is not JSON: {str(error).splitlines()[0]}") from None
    return value


class Fields:
    """One JSON object, taken apart field by field; MalformedError names what is missing, odd or left over."""

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError(f"{where} is {shown(value)}, not an object")
        self.where = where
        self._left: dict[str, object] = dict(value)

    def names(self) -> tuple[str, ...]:
        """Names not yet taken, in the file's order."""
        return tuple(self._left)

    def take(self, name: str) -> object:
        """The field's raw value. Raises where it is missing."""
        if name not in self._left:
            raise MalformedError(f"{self.where}.{name} is missing")
        return self._left.pop(name)

    def done(self) -> None:
        """Raises if a field was left over: it has no meaning in this version."""
        if self._left:
            raise MalformedError(f"{self.where} has an unknown field {shown(next(iter(self._left)))}")

    def text(self, name: str, longest: int = 4096) -> str:
        """A text of 1 to `longest` characters."""
        value = self.take(name)
        if not isinstance(value, str) or not 1 <= len(value) <= longest:
            self._refuse(name, value, f"a text of 1 to {longest} characters")
        return value

    def optional_text(self, name: str, longest: int = 4096) -> str | None:
        """A text, or null."""
        return None if self._is_null(name) else self.text(name, longest)

    def integer(self, name: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self.take(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self._refuse(name, value, f"a whole number from {low} to {high}")
        return value

    def optional_integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`, or null."""
        return None if self._is_null(name) else self.integer(name, low, high)

    def positive(self, name: str) -> float:
        """A finite number above zero."""
        value = self.take(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            self._refuse(name, value, "a positive number")
        try:
            return float(value)
        except OverflowError:
            self._refuse(name, value, "a positive number")

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.take(name)
        if not isinstance(value, bool):
            self._refuse(name, value, "true or false")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of the given texts."""
        value = self.take(name)
        if not isinstance(value, str) or value not in choices:
            self._refuse(name, value, "one of " + ", ".join(choices))
        return value

    def digest(self, name: str) -> str:
        """A sha256 in lower-case hexadecimal."""
        value = self.take(name)
        if not isinstance(value, str) or not _DIGEST.fullmatch(value):
            self._refuse(name, value, "a sha256 of 64 hexadecimal digits")
        return value

    def items(self, name: str) -> list[object]:
        """A list."""
        value = self.take(name)
        if not isinstance(value, list):
            self._refuse(name, value, "a list")
        return value

    def fields(self, name: str) -> Fields:
        """An object."""
        return Fields(self.take(name), f"{self.where}.{name}")

    def optional_fields(self, name: str) -> Fields | None:
        """An object, or null."""
        return None if self._is_null(name) else self.fields(name)

    def texts(self, name: str, longest: int = 4096) -> dict[str, str]:
        """An object whose values are all texts."""
        inner = self.fields(name)
        return {key: inner.text(key, longest) for key in inner.names()}

    def _is_null(self, name: str) -> bool:
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return True
        return False

    def _refuse(self, name: str, value: object, wanted: str) -> NoReturn:
        raise MalformedError(f"{self.where}.{name} is {shown(value)}, not {wanted}")
