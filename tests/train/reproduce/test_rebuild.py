"""A run's network and data once more, from what its store says."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from analysis.errors import LandscapeError
from train import RECIPES, evaluate, rebuild, train
from train.errors import ConfigError
from train.reproduce.rebuild import Landscapes, fixed_batch
from trajectory import Recorder, Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = replace(RECIPES["f1-digits"](), epochs=1, label_noise=0.2, ghost_batch_size=8, batch_size=64)
    return Run(train(config, tmp_path_factory.mktemp("runs") / "run.zarr"))


def test_the_network_has_the_run_s_weights_and_errs_as_recorded(run):
    state = torch.get_rng_state()
    model, data = rebuild(run)
    assert torch.equal(torch.get_rng_state(), state)
    last = run.state_dict(run.snapshots[-1])
    assert all(torch.equal(tensor, last[name]) for name, tensor in model.state_dict().items())
    error, loss = evaluate(model, data)
    assert float(error) == pytest.approx(run.metrics["validation_error"].dropna().iloc[-1])
    assert float(loss) == pytest.approx(run.metrics["validation_loss"].dropna().iloc[-1], rel=1e-5)
    assert any("GhostBatchNorm" in type(layer).__name__ for layer in model.modules())


def test_the_labels_are_shuffled_as_for_the_run(run):
    _, data = rebuild(run.path)
    _, clean = rebuild(Run(run.path))
    assert torch.equal(data.train_y, clean.train_y)
    from train.data.images import load

    changed = (data.train_y != load("digits").train_y).float().mean()
    assert 0.1 < changed < 0.2


def test_the_objective_of_a_snapshot(run):
    landscapes = Landscapes(samples=300)
    objective = landscapes.objective(run, 0, "running")
    model, data = rebuild(run)
    run.load_into(model, 0)
    x, y = fixed_batch(data, 300)
    with torch.no_grad():
        expected = F.cross_entropy(model.eval()(x), y)
    assert objective.loss() == pytest.approx(float(expected), rel=1e-5)
    assert landscapes.objective(run, 20, "batch", test=True).samples == 300
    assert landscapes.objective(run, 20, "batch").statistics == "batch"
    assert Landscapes().objective(run, 20, "running", test=True).samples == 517  # all of the test set


def test_runs_share_a_network_only_where_it_is_built_alike(tmp_path):
    plain = replace(RECIPES["f1-digits"](), epochs=0.05, batch_size=64)
    runs = [
        Run(train(config, tmp_path / f"{k}.zarr")) for k, config in enumerate((plain, replace(plain, ghost_noise=8)))
    ]
    landscapes = Landscapes(samples=64)
    landscapes.objective(runs[0], 0, "batch")
    with pytest.raises(LandscapeError, match=r"noise is active .* or take statistics='running'"):
        landscapes.objective(runs[1], 0, "batch")
    assert landscapes.objective(runs[1], 0, "running").samples == 64


def test_other_runs_are_refused_in_one_line(run, tmp_path):
    model = torch.nn.Linear(2, 1)
    Recorder(tmp_path / "own.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1)).close()
    with pytest.raises(ConfigError, match="its network is not on record"):
        rebuild(tmp_path / "own.zarr")
    with pytest.raises(ConfigError, match="samples is 1281; expected 2 to 1280"):
        Landscapes(samples=1281).objective(run, 0, "batch")
    bare = Run(train(replace(RECIPES["f1-digits"](), epochs=0.1, snapshots_per_decade=0), tmp_path / "bare.zarr"))
    with pytest.raises(LandscapeError, match="holds no snapshot"):
        Landscapes().objective(bare, 0, "batch")
