"""α by layer, where there are no layers; with layers: `tests/analysis/test_recorded.py`."""

import numpy as np
import pytest
import torch

from analysis import fit_layers
from analysis.errors import CurveError
from trajectory import Recorder


def test_arrays_have_no_layers():
    t = np.geomspace(1, 1e4, 49)
    with pytest.raises(CurveError, match="need a run"):
        fit_layers((t, t**0.3))


def test_a_seed_that_stands_apart_in_a_layer_is_named_there(tmp_path):
    """Of three seeds the last one's small layer comes back; in the whole that does not show."""
    t, rng = np.arange(1, 1001), np.random.default_rng(0)
    for seed in range(3):
        moved = {"large": 9 * t**0.25, "small": t**0.25 if seed < 2 else np.where(t < 500, t**0.25, 400 / t)}
        model = torch.nn.ParameterDict({name: torch.nn.Parameter(torch.zeros(1)) for name in moved})
        with Recorder(tmp_path / f"seed-{seed}.zarr", model) as recorder, torch.no_grad():
            for row in zip(*(d * np.exp(1e-3 * rng.normal(size=len(t))) for d in moved.values()), strict=True):
                for weight, distance in zip(model.values(), row, strict=True):
                    weight.fill_(distance)
                recorder.update()
    table = fit_layers([tmp_path / f"seed-{seed}.zarr" for seed in range(3)], t_min=10)
    assert table.note["large"] == ""
    assert "seed-2 small falls" in table.note["small"]
