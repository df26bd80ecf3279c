"""Read the entries of a store's root one by one; one that is missing or of another type is refused by its name."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from trajectory.errors import StoreError

T = TypeVar("T")
_LARGEST = 2**63 - 1  # of an int64, which counts rows and steps


@dataclass(frozen=True)
class Kind(Generic[T]):
    """What an entry has to be.

    Attributes:
        expected: the same in words.
        parse: makes the value of what JSON holds; raises TypeError, ValueError, KeyError, IndexError or OverflowError
            for anything else.
    """

    expected: str
    parse: Callable[[Any], T]

    def __call__(self, value: Any) -> T:
        """Return `parse(value)`."""
        return self.parse(value)


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

    def get(self, key: str, kind: "Kind[T]") -> T:
        """Return the entry under `key`.

        Args:
            key: its name.
            kind: what it has to be.

        Returns:
            The parsed value.

        Raises:
            StoreError: it is missing, or of another kind.
        """
        if key not in self.values:
            raise StoreError(
                f"{self.path}: zarr.json lacks {self.prefix + key!r} of a run; restore it as it was written"
            )
        value = self.values[key]
        try:
            return kind(value)
        except (TypeError, ValueError, KeyError, IndexError, OverflowError, RecursionError) as error:
            shown = _brief(value)
            raise StoreError(
                f"{self.path}: {self.prefix + key!r} in zarr.json is {shown}, expected {kind.expected};"
                " restore it as it was written"
            ) from error

    def get_or(self, key: str, default: T, kind: "Kind[T]") -> T:
        """Return the entry under `key`, or `default` where an earlier version wrote none.

        Args:
            key: its name.
            default: what its absence means.
            kind: what it has to be.

        Returns:
            The parsed value or the default.

        Raises:
            StoreError: it is of another kind.
        """
        return self.get(key, kind) if key in self.values else default

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


def _brief(value: Any) -> str:
    """Return the beginning of a value's representation; Python refuses to write whole numbers of 4300 digits."""
    try:
        shown = repr(value)
    except (ValueError, RecursionError):
        return f"a value of type {type(value).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def in_order(values: Iterable[int], first: int) -> bool:
    """Return whether numbers increase from `first` or more on.

    Args:
        values: the numbers.
        first: the smallest that the first of them may be.
    """
    last = first - 1
    for value in values:
        if value <= last:
            return False
        last = value
    return True


def _count(value: Any) -> int:
    if not 0 <= _instance(value, int) <= _LARGEST:
        raise ValueError
    return value


def _instance(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(type(value).__name__)
    return value


def _each(value: Any, kind: Kind[T]) -> tuple[T, ...]:
    return tuple(kind(item) for item in _instance(value, (list, tuple)))


def _or_null(kind: Kind[T]) -> Kind[T | None]:
    return Kind(f"{kind.expected} or null", lambda value: None if value is None else kind(value))


text = Kind[str]("a string", lambda value: _instance(value, str))
whole = Kind[int]("a whole number", lambda value: _instance(value, int))
count = Kind[int]("a whole number from 0 on", _count)
number = Kind[float]("a number", lambda value: float(_instance(value, (int, float))))
mapping = Kind[Mapping[str, Any]]("an object of named entries", lambda value: _instance(value, Mapping))
texts = Kind[tuple[str, ...]]("a list of strings", lambda value: _each(value, text))
counts = Kind[tuple[int, ...]]("a list of whole numbers from 0 on", lambda value: _each(value, count))
numbers = Kind[tuple[float, ...]]("a list of numbers", lambda value: _each(value, number))
names = Kind[Mapping[str, str]](
    "an object of named strings", lambda value: {key: text(item) for key, item in mapping(value).items()}
)
optional_text = _or_null(text)
optional_whole = _or_null(whole)
optional_count = _or_null(count)
