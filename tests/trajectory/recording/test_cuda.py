"""What only a GPU can show: the kernel itself, steps that wait for nothing, and a captured step."""

import numpy as np
import pytest
import torch
from torch import nn

from trajectory import Recorder, Run
from trajectory.measure.observables import Observables
from trajectory.schema.layout import QUANTITIES

pytestmark = pytest.mark.cuda


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(60, 300), nn.BatchNorm1d(300), nn.ReLU(), nn.Linear(300, 9)).cuda()


def update(model, optimizer, x, *, set_to_none=True):
    optimizer.zero_grad(set_to_none=set_to_none)
    model(x).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("how", ["kernel", "foreach"])
def test_every_quantity_equals_its_float64_twin(how):
    if how == "kernel":
        pytest.importorskip("triton")
    torch.manual_seed(0)
    parameters = [
        torch.randn(300_001, device="cuda"),
        torch.randn(40, 3, device="cuda").bfloat16(),
        torch.randn(33, device="cuda").half(),
        torch.randn(17, device="cuda").double(),
        torch.randn(4, 3, 5, 5, device="cuda").to(memory_format=torch.channels_last),
        torch.randn(20, 10, device="cuda").t() if how == "kernel" else torch.randn(20, 20, device="cuda")[:, ::2],
    ]
    observables = Observables(parameters, QUANTITIES, origins=1)
    assert (observables._kernel is not None) == (how == "kernel")
    start = [p.double().clone() for p in parameters]
    for p in parameters:
        p.add_(torch.randn_like(p))
        p.grad = torch.randn_like(p)
    parameters[0].data = parameters[0].clone()  # another place in memory
    out = torch.empty(observables.measurements, len(parameters), dtype=torch.float64, device="cuda")
    observables.write(out, keep=True)
    moved = [(p.double() - w).norm() for p, w in zip(parameters, start, strict=True)]
    twin = [moved, [p.double().norm() for p in parameters], moved, [p.grad.double().norm() for p in parameters]]
    assert out[1].isnan().all()  # an origin that is not reached yet
    torch.testing.assert_close(out[[0, 2, 3, 4]].sqrt(), torch.tensor(twin, device="cuda"), rtol=2e-6, atol=0)


def test_no_step_waits_for_the_device_and_none_is_changed(tmp_path):
    """Both trainings launch the same kernels on the same shapes, none of which adds up in an order left to chance."""
    x = torch.randn(32, 60, device="cuda")
    plain = network()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for _ in range(150):
        update(plain, optimizer, x)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    how = {"quantities": QUANTITIES, "origins": [5], "snapshots": 40, "sketch": 64, "sketches": 30}
    with Recorder(tmp_path / "run.zarr", model, optimizer, **how) as recorder:
        for t in range(150):
            torch.cuda.set_sync_debug_mode("error" if t > 2 else "default")  # the kernels are compiled by then
            update(model, optimizer, x)
            recorder.log(loss=x.mean())
        torch.cuda.set_sync_debug_mode("default")
    for a, b in zip(plain.state_dict().values(), model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    run = Run(tmp_path / "run.zarr")
    assert len(run.total("update_norm")) == 150
    assert (run.snapshots, run.sketches) == ([0, 40, 80, 120], [0, 30, 60, 90, 120, 150])


def test_a_snapshot_holds_the_weights_bit_for_bit(tmp_path):
    x = torch.randn(32, 60, device="cuda")
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=7) as recorder:
        for t in range(1, 15):
            update(model, optimizer, x)
            if t == 7:
                then = {name: value.cpu().clone() for name, value in model.state_dict().items()}
    kept = Run(recorder.path).state_dict(7)
    assert kept.keys() == then.keys()
    assert all(torch.equal(kept[name], value) for name, value in then.items())


def test_replays_of_a_captured_step_are_recorded(tmp_path):
    x = torch.randn(32, 60, device="cuda")
    for name, captured in (("eager", False), ("replayed", True)):
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, capturable=True)
        path = tmp_path / f"{name}.zarr"
        with Recorder(path, model, optimizer, quantities=QUANTITIES, snapshots=50, capturable=captured) as recorder:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(5):
                    update(model, optimizer, x, set_to_none=False)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            if captured:
                with torch.cuda.graph(graph):
                    update(model, optimizer, x, set_to_none=False)
            for _ in range(200):
                if captured:
                    graph.replay()
                    recorder.replayed()
                else:
                    update(model, optimizer, x, set_to_none=False)
    eager, replayed = Run(tmp_path / "eager.zarr"), Run(path)
    assert list(replayed.distance.index) == list(range(1, 206))
    assert replayed.snapshots == [0, 50, 100, 150, 200]
    for quantity in QUANTITIES:
        np.testing.assert_allclose(replayed.layers(quantity), eager.layers(quantity), rtol=1e-4)
