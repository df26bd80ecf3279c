"""What users give: kinds of curves, vectors, updates and probabilities, refused in a line where they are none."""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.errors import AnalysisError, CurveError

_KINDS = {
    "b": "truth values",
    "c": "complex numbers",
    "m": "time differences",
    "M": "dates",
    "U": "text",
    "S": "text",
    "T": "text",
}


class SeriesLike(Protocol):
    """A `pandas.Series`, as far as it is read here. Without pandas' stubs its own name would accept anything."""

    @property
    def name(self) -> Hashable:
        """What the curve is called."""

    @property
    def index(self) -> Any:
        """The updates t."""


class FrameLike(Protocol):
    """A `pandas.DataFrame`, as far as it is read here: a column of distances for each seed."""

    @property
    def columns(self) -> Any:
        """The seeds' names."""

    @property
    def index(self) -> Any:
        """The updates t."""


class LabelledArray(Protocol):
    """An `xarray.DataArray`, as far as it is read here: over t, or over t and seeds."""

    @property
    def name(self) -> Hashable:
        """What the curve is called."""

    @property
    def dims(self) -> tuple[Hashable, ...]:
        """The dimensions' names."""

    @property
    def coords(self) -> Mapping[Any, ArrayLike]:
        """The coordinates, by dimension."""


def numbers(values: Any, refusal: Callable[[str], AnalysisError]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read real numbers, and which of them are masked.

    Args:
        values: an array, a masked array, a tensor (with a gradient or without), a list, a Series or an index.
        refusal: makes the error, of what they are or hold instead, such as "holds text".

    Returns:
        The numbers, None and NA as NaN, and for each whether it is masked; of any one shape.

    Raises:
        AnalysisError: as `refusal` makes it, where they are no real numbers.
    """
    try:
        array = np.asarray(_detached(values))
    except (TypeError, ValueError, RuntimeError):
        raise refusal(f"is {type(values).__name__}") from None
    if array.dtype.kind == "O":
        array = np.array([_number(value, refusal) for value in array.ravel()], float).reshape(array.shape)
    if array.dtype.kind not in "iuf":
        raise refusal(f"holds {_KINDS.get(array.dtype.kind, str(array.dtype))}")
    masked = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else np.zeros(array.shape, bool)
    return np.asarray(array, float), masked


def vector(values: Any, what: str, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read a curve's updates or distances, as `numbers` does.

    Args:
        values: what `numbers` reads.
        what: "t" or "d", for messages.
        name: the curve's name, for messages.

    Returns:
        The numbers, and for each whether it is masked.

    Raises:
        CurveError: where they are no real numbers.
    """
    return numbers(values, lambda got: CurveError(f"{name}: t and d must be vectors of numbers; {what} {got}"))


def _detached(values: Any) -> Any:
    """Return a tensor's numbers, without importing torch; all else as it is."""
    if not (hasattr(values, "detach") and hasattr(values, "is_floating_point")):
        return values
    values = values.detach().cpu()
    return values.double() if values.is_floating_point() else values


def _number(value: Any, refusal: Callable[[str], AnalysisError]) -> float:
    if value is None or value is pd.NA:
        return math.nan
    if _is_real(value) or isinstance(value, Decimal):
        return float(value)
    shown = " ".join(repr(value).split())
    raise refusal(f"holds {shown:.40}")


def whole_and_increasing(values: Any, name: str) -> bool:
    """Return whether a vector may be the updates t of a curve; hardly any distance is.

    Args:
        values: what `vector` reads.
        name: for messages.

    Raises:
        CurveError: where they are no real numbers.
    """
    t, _ = vector(values, "t", name)
    return t.ndim == 1 and len(t) > 1 and bool(np.all(t % 1 == 0) and np.all(np.diff(t) > 0))


def update_number(value: Any, name: str) -> int:
    """Return an update's number, such as an origin.

    Args:
        value: a whole number from 0 on.
        name: the argument's, for the message.

    Raises:
        AnalysisError: for anything else.
    """
    if not is_finite_number(value) or value < 0 or value % 1 != 0:
        raise AnalysisError(f"{name} = {value!r}: expected the number of an update, 0 or more")
    return int(value)


def check_update(value: Any, name: str) -> None:
    """Refuse an end of a fit range that is no number.

    Args:
        value: a number of updates, whole or not, or None.
        name: the argument's, for the message.

    Raises:
        AnalysisError: for a number below 0, text, NaN, truth values and all else that is no real number.
    """
    if value is not None and not (_is_real(value) and value >= 0):
        raise AnalysisError(f"{name} = {value!r}: expected a number of updates, 0 or more")


def check_confidence_level(value: Any) -> None:
    """Refuse a confidence level that is no probability.

    Args:
        value: a number between 0 and 1.

    Raises:
        AnalysisError: for anything else.
    """
    if not (_is_real(value) and 0 < value < 1):
        raise AnalysisError(f"confidence_level = {value!r}: expected a probability between 0 and 1, such as 0.95")


def check_switch(value: Any, name: str) -> None:
    """Refuse what is neither True nor False: a text such as "no" would count as True.

    Args:
        value: True or False, Python's or NumPy's.
        name: the argument's, for the message.

    Raises:
        AnalysisError: for anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise AnalysisError(f"{name} = {value!r:.60}: expected True or False")


def listed(values: Any, name: str, example: str) -> list[Any]:
    """Return the values of a list, where text or a single value would be read wrongly or not at all.

    Args:
        values: what was given.
        name: the argument's, for the message.
        example: what to give instead, for the message.

    Raises:
        AnalysisError: for text, bytes and all else that is no list.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise AnalysisError(f"{name} = {values!r:.60}: expected {example}")
    return list(values)


def is_same(one: Any, other: Any) -> bool:
    """Return whether two settings are one: equal as numbers, or written alike, as NaN is, or 16 and "16".

    Args:
        one: a setting.
        other: the same of another run.
    """
    return str(one) == str(other) or (is_finite_number(one) and is_finite_number(other) and bool(one == other))


def is_count(value: Any, least: int = 1, most: float = math.inf) -> bool:
    """Return whether a value is a whole number in a range.

    Args:
        value: what was given.
        least: the smallest.
        most: the largest.
    """
    return isinstance(value, Integral) and _is_real(value) and least <= int(value) <= most


def is_finite_number(value: Any) -> bool:
    """Return whether a value is a finite real number.

    Args:
        value: anything.
    """
    return _is_real(value) and math.isfinite(value)


def _is_real(value: Any) -> bool:
    """Return whether a value is a real number that a double holds; numpy calls a time difference an integer."""
    if not isinstance(value, Real) or isinstance(value, bool | np.timedelta64):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True
