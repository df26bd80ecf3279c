"""Distance by the angle alone: how far the directions of scale-invariant weights turn, as curves to be fitted.

Where a normalisation follows, the length of weights changes nothing that the network computes, and the length of the
steps grows and shrinks with it. With θ_l the angle by which parameter l has turned since the origin,

    d = √Σ_l 2(1 − cos θ_l),   2(1 − cos θ_l) = (‖w_l − v_l‖² − (‖w_l‖ − ‖v_l‖)²) / (‖w_l‖ ‖v_l‖),

v being the weights at the origin, is the distance between the weights once each is put to length 1. Theory predicts
it where gradients are uncorrelated and weight decay balances them: cos θ = e^(−t/τ) with τ = (1 − μ)/(ηλ), so
d² = 2L(1 − e^(−t/τ)) over L parameters, which is the law "saturation" with both of its parameters known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np

from analysis.curve import Curve, Run
from analysis.errors import AnalysisError, CurveError
from analysis.fitting.laws import Array
from analysis.fitting.origin_choice import choose_origin, opened
from analysis.inputs import listed, update_number
from analysis.run_curves import run_curve

_MATRIX = 2  # dimensions from which on a parameter is a weight and no bias or gain


def directions(
    data: Run | str | Sequence[Run | str],
    *,
    parameters: str | Sequence[str] | None = None,
    origin: int | None = None,
) -> list[Curve]:
    """Read how far the directions of scale-invariant weights turned, as curves for `fit`, `scan` and `compare`.

    Args:
        data: runs or their paths that recorded the norm by parameter (`quantities=["distance", "norm"]`).
        parameters: the scale-invariant ones, by name or by a shell's pattern (`features.*.weight`), one or several.
            By default all weights of two or more dimensions but the last, which no normalisation follows.
        origin: the update that the angle is measured from. By default the oldest recorded one after which two decades
            of t are left, as `fit` takes it.

    Returns:
        A curve for each run, between 0 and √(2L); `directions` in its `config` holds L. `fit`, `compare_origins` and
        `average_origins` can measure them from the runs' other origins, `fit_layers` by parameter.

    Raises:
        CurveError: where no runs are given, or a parameter is not among those recorded, or has no direction.
        AnalysisError: for parameters that are no names, or an origin that is no update.
        StoreError: where the norm was not recorded, or no distance from the origin.

    Examples:
        >>> import torch
        >>> from analysis import directions
        >>> from trajectory import Recorder
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with Recorder("turned.zarr", model, optimizer, quantities=["distance", "norm"]):
        ...     for _ in range(20):
        ...         loss = model(torch.randn(16, 8)).square().mean()
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        >>> (curve,) = directions("turned.zarr")
        >>> curve.name, bool(curve.d[-1] < 2**0.5)
        ('turned', True)
    """
    runs = opened(data)
    if not runs:
        raise CurveError("got no runs; expected recorded runs, or their paths: other data have no norm by parameter")
    start = choose_origin(runs)[0] if origin is None else update_number(origin, "origin")
    patterns = None if parameters is None else _patterns(parameters)
    return [Turning(run, patterns).curve(start) for run in runs]


def _patterns(parameters: str | Sequence[str]) -> tuple[str, ...]:
    example = 'names or patterns of parameters, such as ["0.weight"]'
    given = [parameters] if isinstance(parameters, str) else listed(parameters, "parameters", example)
    if not all(isinstance(one, str) for one in given):
        raise AnalysisError(f"parameters = {given!r:.60}: expected {example}")
    return tuple(given)


@dataclass(frozen=True)
class Turning:
    """The directions of a run's weights, which can be measured from any of its origins.

    Attributes:
        run: the run.
        parameters: whose directions, by name or pattern; None for the scale-invariant weights.
    """

    run: Run
    parameters: tuple[str, ...] | None

    @property
    def origins(self) -> Sequence[int]:
        """The origins that the run recorded."""
        return self.run.origins

    def curve(self, origin: int) -> Curve:
        """Return how far they turned since an origin.

        Args:
            origin: the update.

        Raises:
            CurveError: for a parameter that was not recorded, or has no direction.
            StoreError: where the norm was not recorded, or no distance from the origin.
        """
        t, squares, names = _turned(self.run, origin, self.parameters)
        return self._measured(origin, t, squares.sum(axis=1), len(names))

    def layers(self, origin: int) -> dict[str, Curve]:
        """Return how far each of them turned by itself.

        Args:
            origin: the update.

        Raises:
            CurveError: as `curve`.
            StoreError: as `curve`.
        """
        t, squares, names = _turned(self.run, origin, self.parameters)
        return {
            name: replace(self, parameters=(name,))._measured(origin, t, squares[:, i], 1)
            for i, name in enumerate(names)
        }

    def _measured(self, origin: int, t: Array, squares: Array, count: int) -> Curve:
        config = {**self.run.settings, "directions": count}
        return replace(run_curve(self.run, origin), t=t, d=np.sqrt(squares), config=config, run=None, source=self)


def _turned(run: Run, origin: int, parameters: Sequence[str] | None) -> tuple[Array, Array, list[str]]:
    """Return t since the origin, the squared distances between directions, (t, parameter), and their names."""
    moved, norm = run.layers("distance", origin=origin), run.layers("norm")
    recorded = list(moved.columns)
    names = _scale_invariant(run, recorded) if parameters is None else _matching(recorded, parameters)
    unknown = [one for one in parameters or () if not _matching(recorded, [one])]
    if unknown or not names:
        raise CurveError(
            f"{run.name}: records no parameter {', '.join(unknown) or 'of two or more dimensions but the last'}; "
            f"expected names out of {', '.join(map(str, recorded[:6]))}{', ...' * (len(recorded) > 6)}"
        )
    if origin == 0:
        squares = 2 * (1 - np.cos(run.layers("angle")[names].to_numpy(float)))
    else:
        if origin not in norm.index:
            raise CurveError(f"{run.name}: no norm was recorded at update {origin}; expected a row at the origin")
        then, now = norm.loc[origin, names].to_numpy(float), norm.loc[moved.index, names].to_numpy(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            squares = (moved[names].to_numpy(float) ** 2 - (now - then) ** 2) / (now * then)
    lost = np.flatnonzero(~np.isfinite(squares).all(axis=0))
    if len(lost):
        raise CurveError(f"{run.name}: {names[lost[0]]} is 0 or no number at some update, and has no direction there")
    return np.asarray(moved.index, float) - origin, np.maximum(squares, 0.0), names


def _matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if name in patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]


def _scale_invariant(run: Run, columns: list[str]) -> list[str]:
    """Return the recorded weights of two or more dimensions, but the last of them."""
    shapes = {name: shape for name, shape, _ in run.parameter_specs["parameters"]}
    return [name for name in columns if len(shapes.get(name, ())) >= _MATRIX][:-1]
