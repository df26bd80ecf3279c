"""What changes in a model and its optimizers while it is recorded: followed, or warned of and filed as an event."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from analysis import fit, match
from trajectory import Recorder, RecordingError, Run
from ultraslow.cli import verify as cli

UPDATES = 100  # more than one block, and not a multiple of one


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def sgd(model):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)


def backward(model):
    model.zero_grad()
    loss = (model(torch.randn(5, 6)) - 1).square().mean()
    loss.backward()
    return loss


def moved(model, start):
    pairs = zip(model.parameters(), start, strict=True)
    return sum((p.detach().double() - w).square().sum() for p, w in pairs).sqrt().item()


def at_start(model):
    return [p.detach().double().clone() for p in model.parameters()]


def train(path, model, optimizer, change=None, at=50, after_step=None, updates=UPDATES, **options):
    """Record a training, with a change before update at + 1; return the run and the warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Recorder(path, model, optimizer, **options) as recorder:
            for t in range(updates):
                if change and t == at:
                    optimizer = change(model, optimizer, recorder) or optimizer
                backward(model)
                optimizer.step()
                if after_step:
                    after_step(model)
    return Run(path), [str(warning.message) for warning in said]


def check_told(run, said, name, names, step):
    """Check that one warning and one event say what has happened, and that the run repeats it."""
    (event,) = run.events
    assert (event.name, event.details["names"], event.step) == (name, names, step)
    assert said == [f"{run.path}: {event.details['warning']}"]
    assert run.warnings == [f"update {step}: {event.details['warning']}"]


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


def test_unfrozen_parameters_count_from_their_first_update_on(tmp_path):
    model = network()
    model[0].requires_grad_(False)
    start, half = at_start(model), []

    def unfreeze(model, optimizer, recorder):
        copies = recorder._pipeline._session.observables.copies[0].tensors
        assert sum(w.numel() for w in copies) == 9  # no copy of frozen weights
        half.extend(p.detach().clone() for p in model.parameters())
        model[0].requires_grad_(True)
        optimizer.add_param_group({"params": list(model[0].parameters())})

    path = tmp_path / "run.zarr"
    options = {
        "quantities": ["distance", "norm"],
        "origins": [20],
        "snapshots": 100,
        "sketch": 4096,
        "sketches": [50, 100],
    }
    run, said = train(path, model, sgd(model), unfreeze, **options)
    check_told(run, said, "unfrozen_parameters", ["0.weight", "0.bias"], 50)
    assert run.events[0].details["exact"]
    assert run.distance.iloc[-1] == pytest.approx(moved(model, start), rel=1e-6)
    layers = run.layers().loc[50].pow(2).sum() ** 0.5
    assert run.distance.loc[50] == pytest.approx(layers)
    assert run.distance.loc[51] > run.layers().loc[51].pow(2).sum() ** 0.5
    assert list(run.layers().columns) == ["2.weight", "2.bias"]
    rest = (run.distance**2 - run.layers().pow(2).sum(axis=1)).iloc[-1] ** 0.5
    assert rest == pytest.approx(moved(model[0], start[:2]), rel=1e-5)
    assert run.warnings[0].endswith(run.layers().attrs["unfrozen"][0])
    assert run.total("angle").isna().tolist() == [t > 50 for t in run.distance.index]
    assert list(run.state_dict(100)) == ["2.weight", "2.bias"]
    kept = run.state_dict(100)
    moves = sum((kept[name] - w).square().sum() for name, w in zip(kept, half[2:], strict=True)).sqrt()
    assert run.pairwise_distance().loc[50, 100] == pytest.approx(
        moves.item(), rel=0.05
    )  # 1/√(2 · 4096) is a σ of .011


def test_frozen_parameters_are_recorded_from_the_start_if_asked(tmp_path):
    model = network()
    model[0].requires_grad_(False)
    start = at_start(model)

    def unfreeze(model, optimizer, _):
        model[0].requires_grad_(True)
        optimizer.add_param_group({"params": list(model[0].parameters())})

    with pytest.warns(RuntimeWarning, match="2 of 4 measured parameters are in no optimizer"):
        Recorder(tmp_path / "run.zarr", model, sgd(model), frozen=True).close()
    run, _ = train(tmp_path / "run.zarr", model, sgd(model), unfreeze, frozen=True, snapshots=50, overwrite=True)
    assert run.distance.iloc[-1] == pytest.approx(moved(model, start), rel=1e-6)
    assert run.layers()["0.weight"].loc[50] == 0 < run.layers()["0.weight"].loc[51]
    assert all(torch.equal(run.state_dict(100)[name], p) for name, p in model.named_parameters())


def test_a_run_is_resumed_whatever_is_unfrozen_by_then(tmp_path):
    model = network()
    model[0].requires_grad_(False)
    optimizer = sgd(model)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        backward(model)
        optimizer.step()
        state = recorder.state_dict()
    model[0].requires_grad_(True)
    optimizer = sgd(model)
    with Recorder(tmp_path / "run.zarr", model, optimizer, resume="must") as recorder:
        recorder.load_state_dict(state)
        backward(model)
        with pytest.warns(RuntimeWarning, match=r"unfroze 2 parameters \(0\.weight.* move from here on counts"):
            optimizer.step()
    run = Run(tmp_path / "run.zarr")
    assert run.distance.loc[2] > run.layers().loc[2].pow(2).sum() ** 0.5


def test_a_replaced_layer_of_the_same_shape_is_followed_under_its_name(tmp_path):
    model = network()
    start = at_start(model)

    def replace(model, optimizer, _):
        model[2] = nn.Linear(8, 1)
        optimizer.param_groups[0]["params"] = list(model.parameters())
        optimizer.state.clear()

    run, said = train(tmp_path / "run.zarr", model, sgd(model), replace, snapshots=100)
    check_told(run, said, "replaced_parameters", ["2.weight", "2.bias"], 64)
    assert run.distance.iloc[-1] == pytest.approx(moved(model, start), rel=1e-6)
    assert all(torch.equal(run.state_dict(100)[name], p) for name, p in model.named_parameters())


class LowRank(nn.Module):
    """A linear layer and a low-rank change of it, as adapters are."""

    def __init__(self, base):
        super().__init__()
        self.base, self.change = base.requires_grad_(False), nn.Linear(8, 1)

    def forward(self, x):
        return self.base(x) + self.change(x)


def grow(model, optimizer, _):
    model[2] = nn.Linear(8, 3)
    return sgd(model)


def wrap(model, optimizer, _):
    model[2] = LowRank(model[2])
    optimizer.add_param_group({"params": list(model[2].change.parameters())})


def untie(model, optimizer, _):
    model[1].weight = nn.Parameter(model[1].weight.detach().clone())
    optimizer.add_param_group({"params": [model[1].weight]})


def resize_in_place(model, optimizer, _):
    model[2].weight.data, model[2].bias.data = torch.randn(3, 8), torch.randn(3)


def test_layers_that_cannot_be_followed_are_named(tmp_path):
    model = network()
    run, said = train(tmp_path / "wrapped.zarr", model, sgd(model), wrap)
    check_told(run, said, "added_parameters", ["2.change.weight", "2.change.bias"], 64)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight = model[0].weight
    run, said = train(tmp_path / "untied.zarr", model, sgd(model), untie)
    check_told(run, said, "added_parameters", ["1.weight"], 64)
    model = network()
    run, said = train(tmp_path / "resized.zarr", model, sgd(model), resize_in_place, snapshots=10)
    check_told(run, said, "lost_parameters", ["2.weight", "2.bias"], 64)
    assert run.snapshots == list(range(0, 101, 10))
    model = network()
    run, _ = train(tmp_path / "grown.zarr", model, sgd(model), grow, snapshots=10)
    assert {"unknown_optimizer", "lost_parameters"} <= {event.name for event in run.events}


def test_weights_that_stay_in_place_are_no_news(tmp_path):
    model = network()

    def load(model, optimizer, _):
        model.load_state_dict(copy.deepcopy(model.state_dict()))
        model.to("cpu").eval().train()

    run, said = train(tmp_path / "run.zarr", model, sgd(model), load, at=64)
    assert (said, run.warnings) == ([], [])


def test_a_changed_type_is_named(tmp_path):
    model = network()
    with (
        pytest.warns(RuntimeWarning, match=r"type of 4 parameters .* has changed"),
        Recorder(tmp_path / "cast.zarr", model, sgd(model)),
    ):
        model.double()


@torch.no_grad()
def clip(model):
    for p in model.parameters():
        p.clamp_(-0.1, 0.1)


def clip_data(model):
    for p in model.parameters():
        p.data = p.data.clamp(-0.1, 0.1)


@pytest.mark.parametrize("move", [clip, clip_data])
def test_weights_that_move_between_updates_are_noticed(tmp_path, move):
    model = network()
    run, said = train(tmp_path / "run.zarr", model, sgd(model), after_step=move, updates=65)
    assert [(event.name, event.details["after"]) for event in run.events] == [
        ("weights_changed", 1),
        ("weights_changed", 65),
    ]
    assert "changed 4 measured parameters (0.weight, 0.bias, 2.weight and 1 more) after update 65;" in said[0]
    assert len(said) == 1


def test_weights_that_move_every_few_updates_are_noticed(tmp_path):
    """As by Lookahead whose inner optimizer was given to the recorder, through `.data`, which no version counts."""
    model = network()
    start = [p.detach().clone() for p in model.parameters()]

    def back_every_fifth(model):
        steps.append(None)
        if len(steps) % 5 == 0:
            for p, q in zip(model.parameters(), start, strict=True):
                p.data.copy_(q)

    steps = []
    run, said = train(tmp_path / "run.zarr", model, sgd(model), after_step=back_every_fifth, updates=64)
    assert ([(event.name, event.details["after"]) for event in run.events], said) == ([("weights_changed", 5)], [])
    assert "after update 5" in run.warnings[0]


def test_a_run_without_updates_says_so(tmp_path):
    model = network()
    recorder = Recorder(tmp_path / "by_hand.zarr", model, sgd(model))
    clip(model)
    with pytest.warns(RuntimeWarning, match="ends without an update, yet something changed 4 measured parameters"):
        recorder.close()
    run = Run(tmp_path / "by_hand.zarr")
    assert (run.status, run.events[0].name) == ("incomplete (updates not counted)", "no_updates")


def test_values_logged_again_and_again_under_one_t_are_noticed(tmp_path):
    model = network()
    optimizer = sgd(model)
    with Recorder(tmp_path / "accumulated.zarr", model, optimizer) as recorder:
        for _ in range(80):
            for _ in range(8):  # micro-batches
                recorder.log(loss=1.0)
            backward(model)
            optimizer.step()
        assert "repeated_log" not in recorder._pipeline.reports._warned
        for _ in range(63):
            recorder.log(loss=1.0)
        with pytest.warns(RuntimeWarning, match=r"log\(loss=...\) was called 64 times at t = 80"):
            recorder.log(loss=1.0)
    assert [event.name for event in Run(tmp_path / "accumulated.zarr").events] == ["repeated_log"]


def test_readers_repeat_what_was_seen(tmp_path, monkeypatch, capsys):
    """A model that moves as A log t, and whose last move is by hand."""
    monkeypatch.chdir(tmp_path)
    model = nn.Linear(3, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer, rng = torch.optim.SGD(model.parameters(), lr=1.0), np.random.default_rng(0)
    recorder = Recorder("run.zarr", model, optimizer)
    for t in range(1, 1501):
        target = [np.log(t / 0.1) * np.exp(1e-3 * rng.normal()), 0.0, 0.0]
        model.weight.grad = model.weight.detach() - torch.tensor([target], dtype=torch.float32)
        optimizer.step()
        if t == 1000:
            recorder.event("lr_drop", lr_from=1.0, lr_to=0.5)
    clip(model)
    with pytest.warns(RuntimeWarning, match="changed 1 measured parameter"):
        recorder.close()
    (sentence,) = Run("run.zarr").warnings
    assert sentence.startswith(
        "update 1500: something that was not counted as an update changed 1 measured parameter"
    )
    assert Run("run.zarr").to_dict()["warnings"] == [sentence]
    assert f"run, {sentence}" in fit("run.zarr").warnings
    matched = match("run.zarr", "run.zarr")
    assert matched.warnings == (f"run, {sentence}",) == tuple(matched.to_dict()["warnings"])
    assert f"! run, {sentence}" in str(matched)
    cli.verify("run.zarr")
    assert f"run.zarr: {sentence} [recorder's warning]" in capsys.readouterr().out
