"""The norm of the optimizer's momentum, through a resume, a new optimizer and stacked networks."""

import numpy as np
import pytest
import torch
from float64_twin import network, norms, update

from trajectory import Recorder, RecordingError, Run

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}, "momentum_buffer"),
    "adam": (torch.optim.Adam, {}, "exp_avg"),
    "adamw": (torch.optim.AdamW, {"foreach": True}, "exp_avg"),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_momentum_is_the_norm_of_the_optimizers_buffers_through_a_resume_and_a_new_optimizer(tmp_path, kind):
    make, options, name = OPTIMIZERS[kind]
    model, twin = network(), []

    def optimizer():
        return make(model.parameters(), lr=0.01, **options)

    def record(recorder, first, updates):
        for _ in range(updates):
            update(model, first)
            twin.append(norms([first.state[p][name] for p in model.parameters()]))

    path, first = tmp_path / "run.zarr", optimizer()
    with Recorder(path, model, first, quantities=["distance", "momentum_norm"]) as recorder:
        record(recorder, first, 5)
        state, saved = recorder.state_dict(), first.state_dict()
        update(model, first)  # taken back
    resumed = optimizer()
    resumed.load_state_dict(saved)
    how = {"quantities": ["distance", "momentum_norm"], "resume": "must"}
    with Recorder(path, model, resumed, **how) as recorder:
        recorder.load_state_dict(state)
        record(recorder, resumed, 3)
        rebuilt = optimizer()
        recorder.follow(rebuilt)
        record(recorder, rebuilt, 3)
    run = Run(path)
    np.testing.assert_allclose(run.layers("momentum_norm"), twin, rtol=1e-6)
    np.testing.assert_allclose(run.total("momentum_norm"), np.linalg.norm(twin, axis=1), rtol=1e-6)


def test_momentum_of_stacked_networks_is_each_ones_own(tmp_path):
    networks = [network(seed) for seed in range(2)]
    pairs = zip(*(each.parameters() for each in networks), strict=True)
    stacked = [torch.stack(pair).detach().requires_grad_() for pair in pairs]
    for k, each in enumerate(networks):
        for p, whole in zip(each.parameters(), stacked, strict=True):
            p.data = whole.data[k]
    optimizer = torch.optim.SGD(stacked, lr=0.1, momentum=0.9)
    how = {"quantities": ["distance", "momentum_norm"]}
    recorders = [Recorder(tmp_path / f"{k}.zarr", each, optimizer, **how) for k, each in enumerate(networks)]
    for _ in range(3):
        for whole in stacked:
            whole.grad = torch.randn_like(whole)
        optimizer.step()
    for k, recorder in enumerate(recorders):
        recorder.close()
        expected = norms([optimizer.state[whole]["momentum_buffer"][k] for whole in stacked])
        np.testing.assert_allclose(Run(recorder.path).layers("momentum_norm").loc[3], expected, rtol=1e-6)


def test_without_momentum_there_is_none_and_the_run_says_so(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    how = {"quantities": ["distance", "momentum_norm"]}
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, **how)
    update(model, optimizer)
    with pytest.warns(RuntimeWarning, match="the optimizer keeps no momentum, so that momentum_norm is NaN"):
        recorder.close()
    run = Run(tmp_path / "run.zarr")
    assert run.total("momentum_norm").isna().all()
    assert [event.name for event in run.events] == ["no_momentum"]
    with pytest.raises(RecordingError, match="momentum_norm without an optimizer"):
        Recorder(tmp_path / "by_hand.zarr", model, **how)
