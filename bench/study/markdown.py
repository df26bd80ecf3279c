"""Cells and tables of docs/what-the-data-say.md."""

import math
from collections.abc import Iterable, Sequence

from study.laws import Described

NONE = "–"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return [_line(columns), "|---" * len(columns) + "|", *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def number(value: float, digits: int = 2) -> str:
    """A number with so many digits after the point, and a minus that is one; a dash for NaN."""
    rounded = round(value, digits) + 0.0  # no minus before a zero
    return NONE if math.isnan(value) else f"{rounded:.{digits}f}".replace("-", "−")


def plus_minus(value: float, half: float, digits: int = 2) -> str:
    """An estimate and half the width of its 95 % interval."""
    return f"{number(value, digits)} ± {number(half, digits)}"


def percent(share: float) -> str:
    """A share in %, to two digits."""
    return NONE if math.isnan(share) else f"{100 * share:.{1 if share < 0.0995 else 0}f} %"


def power_of_ten(value: float) -> str:
    """A rate, such as 5e-4."""
    return "0" if value == 0 else f"{value:.3g}".replace("e-0", "e-") if value < 1e-3 else f"{value:g}"


def probability(value: float) -> str:
    """A p-value, to one digit below .1."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.1g}".replace("e-0", "e-")


def alpha(found: Described | None) -> str:
    """α with its interval, in brackets where the law is rejected."""
    if found is None:
        return "no growth"
    text = plus_minus(found.alpha, found.half)
    return text if found.p_value >= 0.05 else f"({text})"


def misfit(found: Described | None) -> str:
    """What the family misses, and its p-value."""
    return NONE if found is None else f"{percent(found.misfit)}; {probability(found.p_value)}"


def rival(found: Described | None, name: str) -> str:
    """What a rival misses, and its BIC above the family's."""
    if found is None:
        return NONE
    return f"{percent(found.rivals[name].rms_residual)} ({number(found.above[name], 0)})"
