"""A distance curve: t and d, the run that they come from, and what is noted of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.errors import CurveError
from analysis.inputs import FrameLike, LabelledArray, SeriesLike, vector
from trajectory.run import Run

SETTINGS = (
    *("network", "dataset", "train_size", "batch_size", "lr", "momentum", "nesterov", "dampening", "weight_decay"),
    *("protocol", "optimizer"),
)
"""What the analysis reads of a run's configuration, beside its `label`.

`Recorder(config={...})` takes any names; these are understood whoever notes them: network and dataset (names),
train_size (samples in the training set), batch_size (samples in an update), lr, momentum, nesterov, dampening,
weight_decay (as the optimizer has them at first; β₁ is the momentum of Adam and AdamW), protocol (a name for how
else it was trained), and optimizer (sgd, adam or adamw). What it does not say of the optimizer is what the recorder
has read off that (`Run.settings`). `label` names the experiment: runs with one label are drawn as its seeds.
"""


class Source(Protocol):
    """Measures something else of a run than its distance, from any of its origins."""

    @property
    def run(self) -> Run:
        """The run."""

    @property
    def origins(self) -> Sequence[int]:
        """The updates that it can be measured from."""

    def curve(self, origin: int) -> "Curve":
        """Return it measured from one of them.

        Args:
            origin: the update.
        """

    def layers(self, origin: int) -> "dict[str, Curve]":
        """Return it of each parameter alone, by name.

        Args:
            origin: the update.
        """


@dataclass(frozen=True, eq=False)
class Curve:
    """A distance curve.

    Attributes:
        t: (point,) updates since the origin, strictly increasing from above 0.
        d: (point,) the distance ‖w − w_origin‖ after them. What is masked, here or in t, is left out.
        name: what messages and legends call it.
        drops: the t at which the learning rate dropped.
        warmup_end: the t at which the learning rate's warm-up ended, 0 without one.
        run: the run it comes from; None for arrays.
        origin: the update from which t counts and d is measured.
        origins: of a mean over several origins, all of them (`average_origins`); else none.
        config: what is noted of the run (`SETTINGS`, `label`).
        drops_known: False where nothing says when the learning rate dropped, as of bare arrays.
        source: what measures the same seed from other origins and by layer, where that is not its run; None for
            distances.

    Raises:
        CurveError: where t and d are no vectors of numbers of one length, or t does not increase from above 0.

    Examples:
        >>> import numpy as np
        >>> from analysis import Curve
        >>> Curve(np.arange(1.0, 4.0), np.array([0.5, 0.7, 0.8]), "mine").d.max()
        np.float64(0.8)
    """

    t: NDArray[np.float64]
    d: NDArray[np.float64]
    name: str = "curve"
    drops: tuple[float, ...] = ()
    warmup_end: float = 0.0
    run: Run | None = field(default=None, repr=False)
    origin: int = 0
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    drops_known: bool = True
    origins: tuple[int, ...] = ()
    source: Source | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not all(type(values) is np.ndarray and values.dtype == float for values in (self.t, self.d)):
            t, d = _unmasked(self.t, self.d, self.name)
            object.__setattr__(self, "t", t)
            object.__setattr__(self, "d", d)
        if self.t.ndim != 1 or self.t.shape != self.d.shape:
            raise CurveError(
                f"{self.name}: t has shape {self.t.shape} and d {self.d.shape}; expected vectors of one length"
            )
        if not np.all(np.isfinite(self.t)):
            raise CurveError(f"{self.name}: t holds NaN or infinite values; expected numbers of updates")
        stuck = np.flatnonzero(self.t[1:] <= self.t[:-1])
        if len(stuck):
            i = int(stuck[0])
            raise CurveError(
                f"{self.name}: t goes from {self.t[i]:.16g} to {self.t[i + 1]:.16g} at position {i + 1}; "
                f"expected strictly increasing updates ({_advice(self.t[i], self.t[i + 1])})"
            )
        if len(self.t) and self.t[0] <= 0:
            raise CurveError(
                f"{self.name}: t begins at {self.t[0]:g}; expected updates since the origin, above 0: at the origin "
                "the distance is 0 and has no logarithm"
            )

    @property
    def label(self) -> str:
        """The label that its run was given, or else its name."""
        return str(self.config.get("label") or self.name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of `SETTINGS` that its run noted; none for bare arrays."""
        return {name: self.config[name] for name in SETTINGS if name in self.config}

    @property
    def dataset(self) -> str | None:
        """The name of the data its run was trained on, if noted."""
        return self.settings.get("dataset")

    @property
    def batch_size(self) -> int | None:
        """The number of samples in an update of its run, if noted."""
        return self.settings.get("batch_size")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its run's recorder saw that a reader of d has to know; none for arrays."""
        run = self.run if self.source is None else self.source.run
        return tuple(f"{self.name}, {sentence}" for sentence in (run.warnings if run is not None else ()))


_LAST_INTEGERS = {2.0**bits - 1 for bits in (7, 8, 15, 16, 31, 32)}  # of signed and unsigned types


def _advice(before: float, after: float) -> str:
    """Say what to do about a t that does not increase."""
    if before in _LAST_INTEGERS and after in (0, -before - 1):
        return "their integer type ends there: give 64-bit integers"
    if before == after and before >= 2**53:
        return "above 2^53 a double no longer holds each whole number: count t from a later origin"
    return "sort the curve, or drop repeated rows"


CurveLike: TypeAlias = Curve | Run | str | Path | tuple[ArrayLike, ArrayLike] | SeriesLike | LabelledArray
"""One curve: as it is, a run or its path, (t, d), a pandas Series with index t, or an xarray DataArray over t.

A path may also be a table's or a log's, with several curves in it: `read_curves`.
"""

CurvesLike: TypeAlias = CurveLike | FrameLike | Sequence[CurveLike | FrameLike]
"""One curve, or several: a list, or a pandas DataFrame with index t and a column for each."""


def _unmasked(t: Any, d: Any, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read t and d as numbers, without what is masked in either."""
    (t, t_masked), (d, d_masked) = vector(t, "t", name), vector(d, "d", name)
    if t.ndim != 1 or t.shape != d.shape or not (t_masked | d_masked).any():
        return t, d
    kept = ~(t_masked | d_masked)
    return t[kept], d[kept]


def curve_of(
    t: Any, d: Any, *, name: str, origin: int, drops_known: bool = False, run: Run | None = None, **known: Any
) -> Curve:
    """Make a curve of arrays whose t counts from w_0.

    Args:
        t: updates.
        d: the distance from the origin after them.
        name: of the curve.
        origin: the update that d is measured from; rows up to it are left out.
        drops_known: as of `Curve`.
        run: the run they come from.
        **known: further attributes of `Curve`.

    Returns:
        The curve, its t counted from the origin.

    Raises:
        CurveError: where they are no curve, or a distance at the origin is not 0.
    """
    t, d = _unmasked(t, d, name)
    if t.ndim == 1 and t.shape == d.shape:
        if run is None:
            _check_start(t, d, name, origin)
        after = ~(t <= origin)  # the origin itself has distance 0 and no logarithm; NaN stays, to be refused
        t, d = (t, d) if after.all() else (t[after], d[after])
        t = t - origin if origin else t
    return Curve(t, d, name, origin=origin, drops_known=drops_known, run=run, **known)


_NOT_ZERO = 1e-6  # of the largest distance: an update moves the weights further, and rounding less


def _check_start(t: NDArray[np.float64], d: NDArray[np.float64], name: str, origin: int) -> None:
    """Refuse a t below 0, and a distance at the origin that is not 0."""
    if len(t) and t.min() < 0:
        raise CurveError(f"{name}: t begins at {t.min():g}; expected numbers of updates, 0 or more")
    at = d[t == origin]
    if len(at) and abs(at[0]) > _NOT_ZERO * np.max(np.abs(d[np.isfinite(d)]), initial=0.0):
        raise CurveError(
            f"{name}: the distance at update {origin} is {at[0]:.4g}; expected 0, being measured from there: if the "
            f"values follow updates {origin + 1}, {origin + 2}, ..., let t (a Series' index) begin at {origin + 1}"
        )
