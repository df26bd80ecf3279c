"""The loss landscape around weights: what no other part of `analysis` can do without torch.

The functions take a model, batches and a loss, as an `Objective`; `train.reproduce.rebuild` makes model and data for
runs of `ultraslow train`. `potential` and `agreement` need no torch: `analysis.potential`, `analysis.agreement`.
"""

from analysis.agreement import agreement
from analysis.landscape.density import SpectralDensity, spectral_density
from analysis.landscape.directions import between, filter_normalised, isotropic
from analysis.landscape.hessian import Eigenvalues, Trace, eigenvalues, trace
from analysis.landscape.mean_loss import cross_entropy
from analysis.landscape.objective import Objective
from analysis.landscape.paths import LossPath, along, path
from analysis.landscape.probes import probe
from analysis.landscape.sharpness_measures import Sharpness, adaptive_sharpness, rising, sharpness
from analysis.potential import potential

__all__ = [
    "Eigenvalues",
    "LossPath",
    "Objective",
    "Sharpness",
    "SpectralDensity",
    "Trace",
    "adaptive_sharpness",
    "agreement",
    "along",
    "between",
    "cross_entropy",
    "eigenvalues",
    "filter_normalised",
    "isotropic",
    "path",
    "potential",
    "probe",
    "rising",
    "sharpness",
    "spectral_density",
    "trace",
]
