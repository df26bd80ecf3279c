"""α by layer: every parameter's own distance, fitted on the whole network's range."""

import warnings
from collections.abc import Sequence

import pandas as pd

from analysis.curve import Curve, CurvesLike
from analysis.errors import AnalysisError
from analysis.fitting.estimator import estimate
from analysis.fitting.fit import fit
from analysis.fitting.log_bins import binned
from analysis.fitting.origin_average import mean_curve
from analysis.fitting.origin_choice import seeds_from
from analysis.fitting.outliers import standing_apart
from analysis.fitting.start_scan import nothing, numbers
from analysis.run_curves import layer_curves


def fit_layers(
    data: CurvesLike,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    confidence_level: float = 0.95,
    origin: int | None = None,
    force: bool = False,
) -> pd.DataFrame:
    """Fit the ultra-slow diffusion law to each parameter's own distance, on the range that the whole network takes.

    Args:
        data: a Run or its path, or several seeds of one experiment; or their `directions`, or the curves of their
            `average_origins`. One that ends early is left out, as by `fit`, with a Python warning.
        t_min: the first update used, as for `fit`.
        t_max: the last update used, as for `fit`.
        confidence_level: of the intervals.
        origin: d is the displacement from this update's weights, and t counts from it; by default as for `fit`.
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same, with a warning.

    Returns:
        One row per parameter, index `parameter`. Columns: alpha, low, high (its confidence interval),
        local_exponent, p_value, rms_residual, max_residual, residual_in_spreads, noise and verdict as in `scan`, and
        note: why a parameter could not be fitted, or which seeds stand apart there, else "". Its `attrs` say how old
        the origin is, as those of `scan`.

    Raises:
        CurveError: for arrays, which have no layers.
        AnalysisError: what `fit` raises for the whole network.

    Examples:
        >>> import torch
        >>> from analysis import fit_layers
        >>> from trajectory import Recorder, Run
        >>> model = torch.nn.Linear(4, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with Recorder("run.zarr", model, optimizer):
        ...     for _ in range(100):
        ...         loss = model(torch.randn(8, 4)).sub(torch.randn(8, 2)).square().mean()
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        >>> fit_layers(Run("run.zarr"), t_min=1).index.tolist()
        ['weight', 'bias']
    """
    seeds = seeds_from(data, origin, t_min, t_max, force=force)
    for sentence in seeds.notes:
        warnings.warn(sentence, stacklevel=2)
    group = seeds.curves
    whole = fit(group, t_min=t_min, t_max=t_max, confidence_level=confidence_level, force=force)
    layers = [_layers(curve) for curve in group]
    rows = {name: _row([each[name] for each in layers], whole.fit_range, confidence_level) for name in layers[0]}
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="parameter")
    frame.attrs.update(whole.scan.attrs | {"age": str(whole.age)})
    return frame


def _layers(curve: Curve) -> dict[str, Curve]:
    """Read each parameter's curve from the origin of the whole, or the mean over its origins."""
    if not curve.origins:
        return layer_curves(curve, curve.origin)
    each = [layer_curves(curve, origin) for origin in curve.origins]
    return {name: mean_curve([one[name] for one in each], curve.origins) for name in each[0]}


def _row(seeds: Sequence[Curve], fit_range: tuple[float, float], confidence_level: float) -> dict[str, float | str]:
    try:
        bins = binned(seeds, *fit_range)
        return numbers(estimate(bins, confidence_level)) | {"note": " ".join(standing_apart(bins))}
    except AnalysisError as error:
        return nothing() | {"note": str(error)}
