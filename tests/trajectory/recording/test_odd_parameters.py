"""Parameters that cannot be measured: refused by name before the first update, unless they are left out."""

import pytest
import torch
from quantized_tensor import Quantized
from torch import nn

from trajectory import Recorder, RecordingError, Run

ODD = {
    "float8": (lambda: torch.randn(8).to(torch.float8_e4m3fn), r"is torch\.float8_e4m3fn"),
    "expanded": (lambda: torch.randn(1).expand(8), "is expanded"),
    "meta": (lambda: torch.zeros(8, device="meta"), "is on the meta device"),
    "quantized": (lambda: Quantized(torch.ones(8)), "is a Quantized whose weights lie in no memory of its own"),
    "sparse": (lambda: torch.eye(4).to_sparse(), "has the layout torch.sparse_coo"),
}


class Pair(nn.Module):
    def __init__(self, odd):
        super().__init__()
        self.odd = odd if isinstance(odd, nn.Parameter) else nn.Parameter(odd)
        self.plain = nn.Parameter(torch.zeros(4))


def check(tmp_path, make, message, saved):
    path = tmp_path / "run.zarr"
    with pytest.raises(RecordingError, match=f"parameter odd {message}.*exclude=") as told:
        Recorder(path, Pair(make()))
    assert "\n" not in str(told.value)
    assert not path.exists()
    model = Pair(make())
    with Recorder(path, model, exclude="odd", snapshots=1, quantities=["distance", "norm"]) as recorder:
        for _ in range(3):
            with torch.no_grad():
                model.plain += 1
            recorder.update()
    run = Run(path)
    assert run.distance.tolist() == [2.0, 4.0, 6.0]
    state = run.state_dict(3)
    assert set(state) == ({"odd", "plain"} if saved else {"plain"})
    if saved:
        assert state["odd"].dtype == model.odd.dtype
        assert torch.equal(state["odd"].float(), model.odd.detach().float())


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning")
@pytest.mark.parametrize("kind", ODD)
def test_an_odd_parameter_is_refused_by_name_and_may_be_left_out(tmp_path, kind):
    check(tmp_path, *ODD[kind], saved=kind in ("float8", "expanded"))


def test_a_lazy_parameter_is_refused_by_name_and_may_be_left_out(tmp_path):
    check(tmp_path, nn.UninitializedParameter, "has no shape yet", saved=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_at_the_start_are_named(tmp_path, value):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].bias.data[0] = value
    with pytest.raises(RecordingError, match=rf"parameter 1\.bias: its norm is {value} before the first update"):
        Recorder(tmp_path / "run.zarr", model)
    Recorder(tmp_path / "run.zarr", model, exclude="1.bias").close()


def test_a_model_of_empty_parameters_is_refused(tmp_path):
    model = nn.Module()
    model.empty = nn.Parameter(torch.zeros(0, 3))
    with pytest.raises(RecordingError, match="all trainable parameters are empty"):
        Recorder(tmp_path / "run.zarr", model)


def test_snapshots_hold_what_is_excluded_from_the_distance_in_its_own_type(tmp_path):
    model = Pair(torch.randn(8).to(torch.float8_e4m3fn))
    with Recorder(tmp_path / "run.zarr", model, exclude="odd", snapshots=1) as recorder:
        with torch.no_grad():
            model.plain += 1.0
        recorder.update()
    state = Run(tmp_path / "run.zarr").state_dict(1)
    assert state["odd"].dtype == torch.float8_e4m3fn
    assert torch.equal(state["odd"].float(), model.odd.float())
    assert not any(event.name == "buffers_changed" for event in Run(tmp_path / "run.zarr").events)


@pytest.mark.parametrize("readable", [True, False])
def test_momentum_that_lies_in_no_memory_of_its_own_is_read_or_told_as_unknown(tmp_path, monkeypatch, readable):
    if not readable:
        monkeypatch.delattr(Quantized, "dequantize")
        monkeypatch.setattr(Quantized, "__torch_dispatch__", classmethod(lambda cls, *_, **__: NotImplemented))
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.state[model.weight]["momentum_buffer"] = momentum = torch.tensor([[1.5, 2.0]])
    model.weight.grad = torch.ones(1, 2)
    with Recorder(tmp_path / "run.zarr", model, optimizer, quantities=["distance", "momentum_norm"]):
        optimizer.step()
        optimizer.state[model.weight]["momentum_buffer"] = Quantized(momentum)
        optimizer.step()
    expected = [2.5, 5.0 if readable else float("nan")]
    torch.testing.assert_close(
        torch.tensor(Run(tmp_path / "run.zarr").total("momentum_norm").tolist()),
        torch.tensor(expected),
        equal_nan=True,
    )


def test_weights_that_stand_for_their_negatives_are_measured_as_they_are(tmp_path):
    model = nn.Linear(2, 1, bias=False)
    model.weight = nn.Parameter(torch._neg_view(torch.tensor([[3.0, 4.0]])))
    with Recorder(tmp_path / "run.zarr", model) as recorder, torch.no_grad():
        model.weight.mul_(2)
        recorder.update()
    assert Run(tmp_path / "run.zarr").distance.tolist() == [5.0]


def test_a_run_is_closed_whole_where_the_weights_have_no_memory_any_more(tmp_path):
    model = nn.Linear(100, 100)
    with Recorder(tmp_path / "run.zarr", model) as recorder:
        with torch.no_grad():
            model.weight += 1
        recorder.update()
        model.weight.untyped_storage().resize_(0)
    run = Run(tmp_path / "run.zarr")
    assert (run.status, run.distance.tolist(), run.warnings) == ("complete", [100.0], [])
