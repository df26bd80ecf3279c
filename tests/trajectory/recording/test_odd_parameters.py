"""Parameters that cannot be measured: refused by name before the first update, unless they are left out."""

import pytest
import torch
from torch import nn

from trajectory import Recorder, RecordingError, Run

ODD = {
    "float8": (lambda: torch.randn(8).to(torch.float8_e4m3fn), r"is torch\.float8_e4m3fn"),
    "expanded": (lambda: torch.randn(1).expand(8), "is expanded"),
    "meta": (lambda: torch.zeros(8, device="meta"), "is on the meta device"),
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
