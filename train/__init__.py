"""How runs are made: data on the device, networks, regimes, the loop, and large-batch methods.

A script of your own may well be called train.py: nothing in `trajectory` or `analysis` imports this package.
"""

from typing import TYPE_CHECKING
from warnings import warn

from trajectory.lazy import lazy_exports

if TYPE_CHECKING:
    from train.configs.config import TrainConfig
    from train.configs.lr_schedule import Regime
    from train.configs.plan import Plan, plan
    from train.configs.recipes import RECIPES
    from train.configs.toml import read_recipe, write_recipe
    from train.engine.evaluation import evaluate
    from train.engine.run_training import train
    from train.engine.seed_ensemble import train_batched
    from train.reproduce.rebuild import rebuild
    from train.reproduce.table import table
    from ultraslow.large_batch.distance_matched_lr import DistanceMatchedLR
    from ultraslow.large_batch.ghost_batch_norm import GhostBatchNorm1d, GhostBatchNorm2d, convert_ghost_batch_norm
    from ultraslow.large_batch.lr_scaling import sqrt_lr
else:
    _get, __dir__ = lazy_exports(
        __name__,
        {
            "train.configs.config": ["TrainConfig"],
            "train.configs.lr_schedule": ["Regime"],
            "train.configs.plan": ["Plan", "plan"],
            "train.configs.recipes": ["RECIPES"],
            "train.configs.toml": ["read_recipe", "write_recipe"],
            "train.engine.evaluation": ["evaluate"],
            "train.engine.run_training": ["train"],
            "train.engine.seed_ensemble": ["train_batched"],
            "train.reproduce.rebuild": ["rebuild"],
            "train.reproduce.table": ["table"],
            "ultraslow.large_batch.distance_matched_lr": ["DistanceMatchedLR"],
            "ultraslow.large_batch.ghost_batch_norm": [
                "GhostBatchNorm1d",
                "GhostBatchNorm2d",
                "convert_ghost_batch_norm",
            ],
            "ultraslow.large_batch.lr_scaling": ["sqrt_lr"],
        },
    )

    def __getattr__(name: str) -> object:
        if name in _FORMER:
            warn(f"train.{name} is called train.{_FORMER[name]}", DeprecationWarning, stacklevel=2)
        return _get(_FORMER.get(name, name))


_FORMER = {"Config": "TrainConfig", "train_together": "train_batched"}

__all__ = [
    "RECIPES",
    "DistanceMatchedLR",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "Plan",
    "Regime",
    "TrainConfig",
    "convert_ghost_batch_norm",
    "evaluate",
    "plan",
    "read_recipe",
    "rebuild",
    "sqrt_lr",
    "table",
    "train",
    "train_batched",
    "write_recipe",
]
