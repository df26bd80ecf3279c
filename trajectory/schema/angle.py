"""The angle between two weight vectors, from their distance and norms."""

import numpy as np
from numpy.typing import ArrayLike


def angle(distance: ArrayLike, norm: ArrayLike, origin_norm: ArrayLike) -> np.ndarray:
    """Return the angle between w_t and w_0.

        tan²(θ/2) = (d² − (n − n_0)²) / ((n + n_0)² − d²),   d = ‖w_t − w_0‖, n = ‖w_t‖, n_0 = ‖w_0‖

    is the law of cosines, d² = n² + n_0² − 2 n n_0 cos θ, in a form that keeps the digits of a small angle.

    Args:
        distance: d; this and the others may be arrays, which are broadcast.
        norm: n.
        origin_norm: n_0.

    Returns:
        θ in radians, NaN where n or n_0 is 0.
    """
    d, n, n_0 = np.asarray(distance, float), np.asarray(norm, float), np.asarray(origin_norm, float)
    across, along = d**2 - (n - n_0) ** 2, (n + n_0) ** 2 - d**2
    theta = 2 * np.arctan2(np.sqrt(np.maximum(across, 0)), np.sqrt(np.maximum(along, 0)))  # rounding can leave < 0
    return np.where(n * n_0 > 0, theta, np.nan)
