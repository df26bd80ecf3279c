"""What a set of curves follows on one fit range: the family's α, and how far its rivals are behind."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import CurveError, fit
from analysis.fitting.comparison_result import FittedLaw
from analysis.fitting.law_fits import fit_law
from analysis.fitting.log_bins import binned
from analysis.fitting.rival_laws import LAWS
from analysis.fitting.seed_group import read_seeds
from analysis.fitting.seed_noise import seed_noise
from study.curve_files import Curve

RIVALS = {
    "power": LAWS["power law"],
    "jump + power": LAWS["jump + power"],
    "log t": LAWS["pure log"],
    "saturation": LAWS["saturation"],
    "stretched saturation": LAWS["stretched saturation"],
}


@dataclass(frozen=True)
class Described:
    """One set of curves on one fit range."""

    alpha: float
    """α of d = A (log t/t₀)^(2/α)."""
    half: float
    """Half the width of its 95 % interval over seeds; NaN for fewer than three."""
    local_exponent: float
    """Its d log d/d log t in the middle of the range."""
    p_value: float
    """Goodness of fit of the family."""
    misfit: float
    """Root mean square of what it misses, as a share of d."""
    rivals: dict[str, FittedLaw]
    """The fits of `RIVALS`."""
    above: dict[str, float]
    """Their BIC above the family's."""
    spread: float
    """Standard deviation between seeds of log d, mean over the range."""


def describe(curves: Sequence[Curve], t_min: float, t_max: float) -> Described | None:
    """Fit the family and its rivals; None where the curves do not grow."""
    try:
        found = fit(list(curves), t_min=t_min, t_max=t_max)
    except CurveError:
        return None
    group, _ = read_seeds(list(curves), 0, t_min, t_max)
    bins = binned(group, t_min, t_max)
    noise = seed_noise(bins)
    family = fit_law(LAWS["ultraslow"], bins, noise)
    rivals = {name: fit_law(law, bins, noise) for name, law in RIVALS.items()}
    return Described(
        alpha=found.alpha,
        half=(found.interval[1] - found.interval[0]) / 2 if found.n >= 3 else float("nan"),
        local_exponent=found.local_exponent,
        p_value=found.p_value,
        misfit=found.rms_residual,
        rivals=rivals,
        above={name: law.bic - family.bic for name, law in rivals.items()},
        spread=float(bins.z.std(axis=0, ddof=1).mean()) if found.n >= 2 else float("nan"),
    )
