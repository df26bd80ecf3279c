"""How runs are made: data on the device, networks, regimes, the loop, and large-batch methods.

A script of your own may well be called train.py: nothing in `trajectory` or `analysis` imports this package.
"""

from train.ensemble import train_together
from train.ghost_batch_norm import GhostBatchNorm1d, GhostBatchNorm2d, convert_ghost_batch_norm
from train.loop import train
from train.matched_lr import DistanceMatchedLR
from train.plan import Plan, plan
from train.recipe_file import read_recipe, write_recipe
from train.recipes import RECIPES, Config
from train.regime import Regime, sqrt_lr
from train.reproduce.table import table
from train.training import evaluate

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
