"""Distances against a float64 twin."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from trajectory import RecordingError
from trajectory.measure import openmp
from trajectory.measure.observables import Observables
from trajectory.measure.plain_names import names_without_prefixes
from trajectory.measure.tracked_parameters import buffers, trainable
from trajectory.measure.weight_copy import Copy


def twin(parameters, origin):
    return torch.stack([(p.detach().double() - w.double()).norm() for p, w in zip(parameters, origin, strict=True)])


def moved(observables, parameters, scale=0.1):
    origin = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p in parameters:
            p.add_(torch.randn_like(p) * scale)
    return distances(observables, parameters), twin(parameters, origin)


def distances(observables, parameters):
    out = torch.full((observables.measurements, len(parameters)), torch.nan, dtype=torch.float64)
    observables.write(out)
    return out[0].sqrt()


SHAPES = {
    "scalar": torch.tensor(1.5),
    "empty": torch.zeros(0),
    "larger than a chunk": torch.zeros(300_001),
    "exactly eight chunks": torch.ones(1 << 17),
    "channels last": torch.zeros(8, 3, 5, 5).to(memory_format=torch.channels_last),
    "transposed": torch.zeros(6, 9).t(),
    "bfloat16": torch.ones(70, 3, dtype=torch.bfloat16),
    "float16": torch.ones(33, dtype=torch.float16),
    "float64": torch.zeros(17, dtype=torch.float64),
}


@pytest.mark.parametrize("name", SHAPES)
def test_one_tensor_equals_its_float64_twin(name):
    torch.manual_seed(0)
    parameters = [SHAPES[name].clone()]
    out, expected = moved(Observables(parameters), parameters)
    # float32 sums over 1e5 elements: a relative error of a few 1e-7
    torch.testing.assert_close(out, expected, rtol=2e-6, atol=0)


def test_a_mixed_list_equals_its_float64_twin():
    torch.manual_seed(1)
    parameters = [tensor.clone() for tensor in SHAPES.values()]
    out, expected = moved(Observables(parameters), parameters)
    torch.testing.assert_close(out, expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize("other", SHAPES.values(), ids=SHAPES.keys())
def test_a_tensor_with_gaps_in_memory_is_measured_too(other):
    torch.manual_seed(2)
    parameters = [torch.zeros(10, 10)[:, ::2], other.clone()]
    out, expected = moved(Observables(parameters), parameters)
    torch.testing.assert_close(out, expected, rtol=2e-6, atol=0)


def test_a_tiny_move_of_large_weights_is_not_rounded_away():
    """In bfloat16 arithmetic the differences of these weights would keep 8 bits; in float32 they are exact."""
    parameters = [torch.full((1000,), 256.0, dtype=torch.bfloat16)]
    observables = Observables(parameters)
    parameters[0][::2] = 258.0
    assert distances(observables, parameters).item() == pytest.approx(2 * 500**0.5, rel=1e-6)


def test_replaced_storage_is_noticed():
    weight = nn.Parameter(torch.zeros(5))
    observables = Observables([weight])
    assert distances(observables, [weight]).item() == 0
    weight.data = torch.full((5,), 2.0)
    assert distances(observables, [weight]).item() == pytest.approx(2 * 5**0.5)


def test_what_is_trainable():
    body = nn.Linear(3, 3, bias=False)
    tied = nn.Linear(3, 3, bias=False)
    tied.weight = body.weight
    frozen = nn.Linear(3, 3)
    frozen.requires_grad_(False)
    model = nn.Sequential(body, nn.BatchNorm1d(3), tied, frozen)
    assert list(trainable(model)) == ["0.weight", "1.weight", "1.bias"]


class Named(nn.Module):
    """Owns a weight and holds a network under a name that wrappers use."""

    def __init__(self, name):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.add_module(name, nn.Linear(2, 2, bias=False))


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch.compile's own
def test_wrappers_leave_no_trace_in_names():
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    plain = ["0.weight", "0.bias", "1.weight"]

    def parts():
        return nn.Linear(2, 2), nn.Linear(2, 2, bias=False)

    first, second = parts()
    wrapped = [
        nn.DataParallel(nn.Sequential(*parts())),
        torch.compile(nn.Sequential(*parts())),
        torch.compile(nn.DataParallel(nn.Sequential(*parts()))),
        nn.Sequential(torch.compile(first), nn.DataParallel(second)),
        AveragedModel(nn.Sequential(*parts())),
        nn.Sequential(*map(checkpoint_wrapper, parts())),
    ]
    for model in wrapped:
        assert list(trainable(model)) == plain
        assert set(buffers(model)) <= {"n_averaged"}


@pytest.mark.parametrize(
    "kind",
    [
        "timm.utils.model_ema.ModelEmaV2",
        "timm.utils.model_ema.ModelEmaV3",
        "apex.parallel.distributed.DistributedDataParallel",
        "deepspeed.runtime.engine.DeepSpeedEngine",
    ],
)
def test_wrappers_of_other_packages_are_known_by_their_types(kind):
    package, _, name = kind.rpartition(".")
    wrapper = type(name, (nn.Module,), {"__module__": package})()
    wrapper.module = nn.Sequential(nn.Linear(2, 2, bias=False))
    assert list(trainable(wrapper)) == ["0.weight"]


@pytest.mark.parametrize("name", ["module", "_orig_mod", "net"])
def test_a_submodule_that_is_named_as_a_wrapper_names_its_own_keeps_its_name(name):
    model = nn.Sequential(Named(name), Named(name))
    assert list(trainable(model)) == [f"{k}.{own}weight" for k in range(2) for own in ("", f"{name}.")]
    assert list(trainable(nn.DataParallel(model))) == list(trainable(model))


def test_two_parameters_never_share_a_name():
    class Wrapper(nn.DataParallel):
        def __init__(self, module):
            super().__init__(module)
            self.weight = nn.Parameter(torch.ones(2))

    assert list(trainable(Wrapper(Named("module")))) == ["weight", "module.weight", "module.module.weight"]


def test_prefixes_in_a_state_dict_are_guessed_where_no_two_names_become_one():
    names = ["module._orig_mod.0.weight", "encoder._orig_mod.0.weight"]
    assert list(names_without_prefixes(names).values()) == ["0.weight", "encoder.0.weight"]
    assert list(names_without_prefixes(["module.weight", "weight"]).values()) == ["module.weight", "weight"]


def test_a_model_that_cannot_move_is_refused():
    with pytest.raises(RecordingError, match="no trainable parameters"):
        trainable(nn.Flatten())
    complex_weights = nn.Module()
    complex_weights.w = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(RecordingError, match="real floating-point"):
        trainable(complex_weights)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_number_of_half_precision_is_widened_exactly(dtype):
    every = torch.arange(-(1 << 15), 1 << 15).short().view(dtype)
    observables = Observables([every], ["distance", "update_norm"])
    observables.previous = Copy([torch.zeros_like(every)])
    observables.write(torch.empty(2, 1, dtype=torch.float64), keep=True)
    kept, expected = observables.previous.tensors[0], every.float()
    torch.testing.assert_close(kept, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(kept.signbit(), expected.signbit())


def test_equal_weights_give_equal_numbers_on_any_number_of_threads():
    torch.manual_seed(3)
    parameters = [torch.randn(300_001), torch.randn(50, 7), torch.randn(70_000).double(), torch.randn(90_000).half()]
    observables = Observables(parameters)
    for p in parameters:
        p.add_(torch.randn_like(p))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(distances(observables, parameters))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])


@pytest.mark.parametrize(("count", "size", "woken"), [(20, 64, 0), (2, 1 << 14, 1)])
def test_threads_are_woken_for_work_alone_however_many_tensors_it_is_in(monkeypatch, count, size, woken):
    """Waking them for 20 tensors of 8×8 made a step of .2 ms take 10 ms beside other processes."""
    teams, team = [], openmp._team()
    if team is None:
        pytest.skip("torch brings no OpenMP along here")
    monkeypatch.setattr(openmp, "_team", lambda: lambda *job: (teams.append(job), team(*job)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    parameters = [torch.zeros(size) for _ in range(count)]
    observables = Observables(parameters)
    for p in parameters:
        p.fill_(2.0)
    assert distances(observables, parameters).tolist() == [2 * size**0.5] * count
    assert len(teams) == woken


def test_the_kernel_leaves_torchs_threads_as_they_are_and_has_none_of_its_own():
    script = """
import psutil
import torch
from trajectory.measure.observables import Observables
def openmp():
    return {file.path for file in psutil.Process().memory_maps() if "omp" in file.path.rpartition("/")[2]}
weight = torch.ones(1_000_000)
observables = Observables([weight])
print(torch.get_num_threads())
torch.set_num_threads(3)
weight.add_(1)
libraries, threads = openmp(), psutil.Process().num_threads()
observables.write(torch.empty(1, 1, dtype=torch.float64))
print(torch.get_num_threads(), psutil.Process().num_threads() - threads, len(openmp() - libraries))
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1", "3", "0", "0"], done.stderr


def test_without_the_kernel_torch_takes_its_place(monkeypatch):
    monkeypatch.setitem(sys.modules, "trajectory.measure.kernel_cpu", None)
    parameters = [torch.zeros(20_000), torch.zeros(3)]
    with pytest.warns(UserWarning, match="Numba is of no use here .*torch takes its place"):
        observables = Observables(parameters)
    out, expected = moved(observables, parameters)
    torch.testing.assert_close(out, expected, rtol=2e-6, atol=0)
