"""Fewer points for the same picture: a figure of a million updates stays small, and no spike is lost."""

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.laws import Array

_COLUMNS = 1000  # a panel is at most as wide at 300 dots an inch, the resolution of a printed figure


def thinned(x: Array, *heights: Array, columns: int = _COLUMNS) -> tuple[Array, ...]:
    """Keep of each column of the picture its first, last, lowest and highest point.

    Columns are cut both in x and in log x, so that the picture is the same on a linear and on a logarithmic axis. A
    line of up to four points a column stays as it is.

    Args:
        x: (point,) places, increasing.
        *heights: (point,) each, of lines that share these places.
        columns: number of columns of the picture.

    Returns:
        The points kept, in order: their places, and each line's heights.

    Examples:
        >>> import numpy as np
        >>> from analysis.figures.thinning import thinned
        >>> t = np.arange(1.0, 1e6)
        >>> d = np.where(t == 271_828, 9.0, 1.0)
        >>> t, d = thinned(t, d)
        >>> len(t) < 9000, float(d.max())
        (True, 9.0)
    """
    if len(x) <= 4 * columns:
        return (x, *heights)
    scales = [x] if x[0] <= 0 else [x, np.log(x)]
    kept = np.unique(np.concatenate([_kept(scale, y, columns) for scale in scales for y in heights]))
    return tuple(values[kept] for values in (x, *heights))


def _kept(x: Array, y: Array, columns: int) -> NDArray[np.intp]:
    column = np.floor((x - x[0]) / (x[-1] - x[0]) * columns)
    first = np.flatnonzero(np.diff(column, prepend=-1))
    last = np.append(first[1:], len(x)) - 1
    order = np.lexsort((y, column))  # column by column, within each from its lowest to its highest
    return np.concatenate([first, last, order[first], order[last]])
