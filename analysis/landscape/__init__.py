"""The loss landscape around weights: what no other part of `analysis` can do without torch.

The functions take a model, batches and a loss, as an `Objective`; `train.reproduce.rebuild` makes both for runs of
`ultraslow train`.
"""

from analysis.landscape.objective import Objective, cross_entropy

__all__ = ["Objective", "cross_entropy"]
