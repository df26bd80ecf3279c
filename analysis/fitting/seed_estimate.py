"""One seed's own estimate of α, beside that of all."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from analysis.fitting.former_names import FormerNames


@dataclass(frozen=True)
class SeedEstimate(FormerNames):
    """One seed's own estimate.

    Attributes:
        name: of its curve.
        alpha: its α.
        local_exponent: its d log d / d log t at the middle of the fit range.
        interval: its confidence interval for α, where there are fewer than three seeds; else None.

    Examples:
        >>> import numpy as np
        >>> from analysis import fit
        >>> t = np.geomspace(1, 10_000, 50)
        >>> seeds = fit([(t, 2 * t**0.3), (t, 3 * t**0.4)]).seeds
        >>> [(seed.name, round(seed.local_exponent, 2)) for seed in seeds]
        [('curve 1', 0.3), ('curve 2', 0.4)]
    """

    name: str
    alpha: float
    local_exponent: float
    interval: tuple[float, float] | None = None

    former_names: ClassVar[Mapping[str, str]] = {"q": "local_exponent"}
