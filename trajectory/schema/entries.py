"""Read the entries of a store's root one by one; one that is missing or of another type is refused by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from trajectory.errors import StoreError

T = TypeVar("T")


@dataclass(frozen=True)
class Entries:
    """The entries of a JSON object in a store's root.

    Attributes:
        values: the object.
        path: the store's path, for messages.
        prefix: what stands before a key in messages, such as `committed.`.
    """

    values: Mapping[str, Any]
    path: object
    prefix: str = ""

    def get(self, key: str, parse: Callable[[Any], T]) -> T:
        """Return the entry under `key`.

        Args:
            key: its name.
            parse: makes the value of what JSON holds; its docstring's first line says what it expects.

        Returns:
            The parsed value.

        Raises:
            StoreError: the entry is missing, or `parse` refuses it.
        """
        if key not in self.values:
            raise StoreError(
                f"{self.path}: zarr.json lacks {self.prefix + key!r} of a run; restore it as it was written"
            )
        value = self.values[key]
        try:
            return parse(value)
        except (TypeError, ValueError, KeyError) as error:
            shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
            raise StoreError(
                f"{self.path}: {self.prefix + key!r} in zarr.json is {shown}, expected {parse.__doc__};"
                " restore it as it was written"
            ) from error

    def get_or(self, key: str, default: T, parse: Callable[[Any], T]) -> T:
        """Return the entry under `key`, or `default` where an earlier version wrote none.

        Args:
            key: its name.
            default: what its absence means.
            parse: as for `get`.

        Returns:
            The parsed value or the default.

        Raises:
            StoreError: `parse` refuses the entry.
        """
        return self.get(key, parse) if key in self.values else default

    def nested(self, key: str) -> "Entries":
        """Return the entries of the object under `key`.

        Args:
            key: its name.

        Returns:
            Its entries, whose messages name both keys.

        Raises:
            StoreError: it is missing, or no object.
        """
        return Entries(self.get(key, mapping), self.path, f"{self.prefix}{key}.")


def text(value: Any) -> str:
    """a string"""
    return _instance(value, str)


def whole(value: Any) -> int:
    """a whole number"""
    return _instance(value, int)


def number(value: Any) -> float:
    """a number"""
    return float(_instance(value, (int, float)))


def mapping(value: Any) -> Mapping[str, Any]:
    """an object of named entries"""
    return _instance(value, Mapping)


def texts(value: Any) -> tuple[str, ...]:
    """a list of strings"""
    return tuple(text(item) for item in _instance(value, (list, tuple)))


def wholes(value: Any) -> tuple[int, ...]:
    """a list of whole numbers"""
    return tuple(whole(item) for item in _instance(value, (list, tuple)))


def numbers(value: Any) -> tuple[float, ...]:
    """a list of numbers"""
    return tuple(number(item) for item in _instance(value, (list, tuple)))


def names(value: Any) -> Mapping[str, str]:
    """an object of named strings"""
    return {key: text(item) for key, item in mapping(value).items()}


def optional_text(value: Any) -> str | None:
    """a string or null"""
    return None if value is None else text(value)


def optional_whole(value: Any) -> int | None:
    """a whole number or null"""
    return None if value is None else whole(value)


def _instance(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(type(value).__name__)
    return value
