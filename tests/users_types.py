"""What a user's type checker sees of every public name. Never run: `mypy` reads it with the packages.

An ignored error that is none is an error of its own (`warn_unused_ignores`).
"""

from typing import assert_type

import pandas as pd
import torch

import ultraslow
from analysis.fitting.comparison_result import Comparison
from analysis.fitting.fit_result import Fit
from analysis.matching.forecast import Forecast
from analysis.matching.match import Matching
from analysis.matching.outcome import Match
from train.configs.plan import Plan
from trajectory import Problem

model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
recorder = ultraslow.Recorder("run.zarr", model, optimizer)
run = ultraslow.Run("run.zarr")

assert_type(ultraslow.__version__, str)
assert_type(recorder, ultraslow.Recorder)
assert_type(ultraslow.At([1, 10]), ultraslow.At)
assert_type(ultraslow.Every(10), ultraslow.Every)
assert_type(ultraslow.LogSpaced(12), ultraslow.LogSpaced)
assert_type(run.snapshots, list[int])
assert_type(run.distance, "pd.Series")
assert_type(ultraslow.verify("run.zarr"), list[Problem])

assert_type(ultraslow.fit("run.zarr"), Fit)
assert_type(ultraslow.fit("run.zarr").alpha, float)
assert_type(ultraslow.fit("run.zarr").interval, tuple[float, float])
assert_type(ultraslow.fit_layers("run.zarr"), pd.DataFrame)
assert_type(ultraslow.scan("run.zarr"), pd.DataFrame)
assert_type(ultraslow.compare("run.zarr"), Comparison)
ultraslow.fit(3.0)  # type: ignore[arg-type]
ultraslow.compare([None])  # type: ignore[list-item]
print(ultraslow.fit("run.zarr").goodness)  # type: ignore[attr-defined]

assert_type(ultraslow.match("small.zarr", "run.zarr"), Matching)
assert_type(ultraslow.predict_match("run.zarr", "small.zarr"), Forecast)
assert_type(ultraslow.plan("small.zarr", 4096), Plan)
assert_type(ultraslow.DistanceMatcher(12.5).match, Match)
assert_type(
    ultraslow.DistanceMatchedLR(optimizer, recorder, "small.zarr"),
    ultraslow.DistanceMatchedLR,
)
assert_type(ultraslow.convert_ghost_batch_norm(model, 128), torch.nn.Module)
assert_type(ultraslow.GhostBatchNorm1d(8, 128), ultraslow.GhostBatchNorm1d)
assert_type(ultraslow.GhostBatchNorm2d(8, 128), ultraslow.GhostBatchNorm2d)
assert_type(ultraslow.sqrt_lr(0.1, 512, 128), float)
