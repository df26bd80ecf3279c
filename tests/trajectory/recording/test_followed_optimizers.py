"""Optimizers that take another's place: followed if the recorder is told of them, noticed if not."""

import pytest
import torch
from watched_training import UPDATES, at_start, backward, moved, network, sgd, train

from trajectory import Recorder, RecordingError, Run


def test_an_optimizer_that_is_rebuilt_is_followed(tmp_path):
    def rebuild(model, _, recorder):
        recorder.follow(torch.optim.AdamW(model.parameters(), lr=0.01))
        return recorder._updates._hooks.optimizers[0]

    model = network()
    start = at_start(model)
    run, said = train(tmp_path / "run.zarr", model, sgd(model), rebuild)
    assert (len(run.distance), said, run.warnings) == (UPDATES, [], [])
    assert run.distance.iloc[-1] == pytest.approx(moved(model, start), rel=1e-6)
    assert run.metrics.learning_rate.loc[[50, 51]].tolist() == [0.1, 0.01]


def test_several_optimizers_are_rebuilt(tmp_path):
    model = network()

    def make():
        return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (model[0], model[2])]

    with Recorder(tmp_path / "run.zarr", model, make()) as recorder:
        for _ in range(3):
            optimizers = make()
            recorder.follow(optimizers)
            for _ in range(10):
                backward(model)
                for optimizer in optimizers:
                    optimizer.step()
    assert (len(Run(tmp_path / "run.zarr").distance), Run(tmp_path / "run.zarr").events) == (30, [])


def test_what_cannot_be_followed_is_refused(tmp_path):
    model = network()
    with Recorder(tmp_path / "one.zarr", model, sgd(model)) as recorder:
        with pytest.raises(RecordingError, match="SGD holds none of the model's trainable parameters"):
            recorder.follow(sgd(network()))
        with pytest.raises(RecordingError, match=r"takes the optimizers whose steps are counted"):
            recorder.follow(None)
    with Recorder(tmp_path / "two.zarr", model) as recorder, pytest.raises(RecordingError, match=r"by update\(\)"):
        recorder.follow(sgd(model))


@pytest.mark.parametrize("at", [0, 50])
def test_an_optimizer_that_takes_over_is_noticed_at_its_second_step(tmp_path, at):
    model = network()

    def replace(model, *_):
        return torch.optim.Adam(model.parameters())

    run, said = train(tmp_path / "run.zarr", model, sgd(model), replace, at)
    assert len(run.distance) == at
    unknown = run.events[0]
    assert (unknown.name, unknown.details["optimizer"], unknown.details["count"]) == ("unknown_optimizer", "Adam", 4)
    assert run.status == "incomplete (updates not counted)"
    assert "follow(optimizer)" in said[0]
    assert len(said) == (1 if at else 2)


def test_optimizers_of_other_models_and_inner_ones_are_none_of_the_recorders_business(tmp_path):
    class Perturbed(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {"lr": 0.1})
            self.inner = torch.optim.SGD(self.param_groups, lr=0.1)

        def step(self):
            self.inner.step()
            self.inner.step()

    model, other = network(), network()
    elsewhere = sgd(other)

    def step_other(_):
        backward(other)
        elsewhere.step()

    run, said = train(tmp_path / "run.zarr", model, sgd(model), after_step=step_other)
    assert (said, run.warnings) == ([], [])
