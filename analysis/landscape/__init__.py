"""The loss landscape around weights: what no other part of `analysis` can do without torch.

The functions take a model, batches and a loss, as an `Objective`; `train.reproduce.rebuild` makes model and data for
runs of `ultraslow train`. `potential` and `agreement` need no torch: `analysis.potential`, `analysis.agreement`.
"""

from analysis.agreement import agreement
from analysis.landscape.directions import between, filter_normalised, isotropic
from analysis.landscape.objective import Objective, cross_entropy
from analysis.landscape.probe import probe
from analysis.potential import potential

__all__ = [
    "Objective",
    "agreement",
    "between",
    "cross_entropy",
    "filter_normalised",
    "isotropic",
    "potential",
    "probe",
]
