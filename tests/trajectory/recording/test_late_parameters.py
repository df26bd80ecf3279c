"""Parameters that are unfrozen while a model is recorded, and those that were recorded frozen."""

import pytest
import torch
from watched_training import at_start, backward, check_told, moved, network, sgd, train

from trajectory import Recorder, Run


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
