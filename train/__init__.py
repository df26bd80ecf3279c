"""How runs are made: data on the device, networks, regimes, the loop, and large-batch methods.

A script of your own may well be called train.py: nothing in `trajectory` or `analysis` imports this package.
"""

from train.configs.lr_schedule import Regime, sqrt_lr
from train.configs.plan import Plan, plan
from train.configs.recipes import RECIPES, Config
from train.configs.toml import read_recipe, write_recipe
from train.engine.run_training import train
from train.engine.seed_ensemble import train_together
from train.engine.trainer import evaluate
from train.reproduce.table import table
from ultraslow.large_batch.distance_matched_lr import DistanceMatchedLR
from ultraslow.large_batch.ghost_batch_norm import GhostBatchNorm1d, GhostBatchNorm2d, convert_ghost_batch_norm

__all__ = [
    "RECIPES",
    "Config",
    "DistanceMatchedLR",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "Plan",
    "Regime",
    "convert_ghost_batch_norm",
    "evaluate",
    "plan",
    "read_recipe",
    "sqrt_lr",
    "table",
    "train",
    "train_together",
    "write_recipe",
]
