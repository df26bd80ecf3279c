"""α by layer: every parameter's own distance, fitted on the whole network's window."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.curve import Curve, layer_curves
from analysis.errors import AnalysisError
from analysis.fitting.estimator import estimate
from analysis.fitting.log_bins import binned

COLUMNS = ("alpha", "low", "high", "q", "goodness", "misfit")


def fit_layers(group: Sequence[Curve], window: tuple[float, float], level: float) -> pd.DataFrame:
    """α with its interval for each parameter, index `parameter`.

    Columns: alpha, low, high, q, goodness, misfit, and note: why a parameter could not be fitted, else "".
    """
    layers = [layer_curves(curve) for curve in group]
    rows = {name: _row([each[name] for each in layers], window, level) for name in layers[0]}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="parameter")


def _row(seeds: Sequence[Curve], window: tuple[float, float], level: float) -> dict[str, float | str]:
    try:
        at = estimate(binned(seeds, *window), level)
    except AnalysisError as error:
        return dict.fromkeys(COLUMNS, np.nan) | {"note": str(error)}
    values = (at.alpha, *at.interval, at.q, at.goodness, at.misfit)
    return dict(zip(COLUMNS, values, strict=True)) | {"note": ""}
