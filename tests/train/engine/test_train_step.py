"""The ways an update can be made, compared with the plain one, and starts from another run's weights."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from train.configs.recipes import f1_digits
from train.data.images import load
from train.engine.run_training import train
from train.engine.seed_ensemble import train_batched
from train.engine.train_step import clip
from train.errors import ConfigError
from train.models import NETWORKS
from trajectory import Recorder, Run, StoreError

SHORT = replace(f1_digits(), batch_size=64, epochs=1, drops=(), input_noise=0.0)  # 20 updates


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return Run(train(SHORT, tmp_path_factory.mktemp("plain") / "run.zarr"))


def test_bfloat16_rounds_the_passes_and_leaves_the_weights_in_float32(plain, tmp_path):
    run = Run(train(replace(SHORT, precision="bfloat16"), tmp_path / "run.zarr"))
    assert run.config["precision"] == "bfloat16"
    assert run.parameter_specs == plain.parameter_specs  # types are part of it
    # one pass: products rounded to 8 bits and averaged over 64 samples
    assert run.metrics["loss"][1] == pytest.approx(plain.metrics["loss"][1], rel=2**-8)
    assert run.metrics["loss"][1] != plain.metrics["loss"][1]
    assert not np.array_equal(run.distance, plain.distance)


@pytest.mark.parametrize("most", [0.01, 5.0, 5.0 + 1e-6, 5.0 + 2e-6, 100.0])
@pytest.mark.parametrize("factor", [1.0, float("nan"), float("inf")])
def test_clipping_is_torchs_bit_for_bit(most, factor):
    """Gradients of norm 5 times the factor; torch's own factor has norm + 1e-6 below.

    Both take the norm with the same function, and multiply by the same factor or by one.
    """
    ours, theirs = ([nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))] for _ in range(2))
    for parameters in (ours, theirs):
        parameters[0].grad = factor * torch.tensor([3.0, 4.0])
    clip(ours, most)
    nn.utils.clip_grad_norm_(theirs, most)
    torch.testing.assert_close(ours[0].grad, theirs[0].grad, rtol=0, atol=0, equal_nan=True)


def test_channels_last_changes_only_where_numbers_lie(tmp_path, monkeypatch, in_float64, same_training):
    def build(image, classes):
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten())
        network[3].register_forward_hook(lambda layer, inputs, output: strides.append(layer.weight.stride()))
        return network.append(nn.Linear(64, classes)).double()

    monkeypatch.setitem(NETWORKS, "f1-small", build)
    strides, runs = [], []
    for layout in (False, True):
        config = replace(SHORT, channels_last=layout)
        runs.append(Run(train(config, tmp_path / f"{layout}.zarr")))
    assert (strides[0], strides[-1]) == ((36, 9, 3, 1), (36, 1, 12, 4))
    np.testing.assert_allclose(runs[1].layers(), runs[0].layers(), **same_training)
    torch.testing.assert_close(runs[1].state_dict(20), runs[0].state_dict(20), **same_training)


def test_a_compiled_network_is_recorded_under_its_own_names(tmp_path, monkeypatch, in_float64, same_training):
    plain = Run(train(SHORT, tmp_path / "plain.zarr"))
    called = []

    def backend(graph, inputs):  # in the place of a compiler: what is captured is called as it is
        called.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    run = Run(train(replace(SHORT, compile=True), tmp_path / "run.zarr"))
    assert len(called) == 1  # it is not compiled again for evaluation or another update
    assert run.parameter_specs == plain.parameter_specs
    np.testing.assert_allclose(run.layers(), plain.layers(), **same_training)


def test_a_network_that_cannot_be_compiled_is_told_in_a_line(tmp_path, monkeypatch):
    def backend(graph, inputs):
        raise RuntimeError("no compiler\nfound")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    with pytest.raises(ConfigError, match=r"cannot be compiled here \(.*; leave compile out") as caught:
        train(replace(SHORT, compile=True), tmp_path / "run.zarr")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # inductor's own imports
def test_inductor_compiles_the_network(tmp_path, in_float64, same_training):
    plain = Run(train(SHORT, tmp_path / "plain.zarr"))
    run = Run(train(replace(SHORT, compile=True), tmp_path / "run.zarr"))
    np.testing.assert_allclose(run.layers(), plain.layers(), **same_training)


def test_a_cuda_graph_asks_for_a_gpu_and_for_every_row(tmp_path):
    with pytest.raises(ConfigError, match="cuda_graph on cpu in 1 processes; expected cuda"):
        train(replace(SHORT, cuda_graph=True), tmp_path / "run.zarr")
    for other in ({"rows_per_decade": 4}, {"origins": (10,)}, {"match_origin": 10}):
        with pytest.raises(ConfigError, match="leave one out"):
            replace(SHORT, cuda_graph=True, **other)
    assert not (tmp_path / "run.zarr").exists()


@pytest.mark.cuda
@pytest.mark.parametrize("batched", [False, True], ids=["alone", "batched"])
def test_a_gpu_trains_what_the_host_does(tmp_path, in_float64, same_training, batched):
    config = replace(SHORT, ghost_batch_size=16, max_grad_norm=1.0)  # noise is drawn on the device: another on each
    runs = []
    for device in ("cpu", "cuda"):
        out = tmp_path / f"{len(runs)}.zarr"
        (path,) = train_batched(config, {0: out}, device=device) if batched else (train(config, out, device=device),)
        runs.append(Run(path))
    np.testing.assert_allclose(runs[1].layers(), runs[0].layers(), **same_training)
    errors = [run.metrics["validation_error"].dropna() for run in runs]
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-6)  # divided in float32


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_replayed_updates_are_those_made_one_by_one(tmp_path, precision):
    config = replace(SHORT, epochs=3, drops=((2, 0.1),), warmup_steps=5, input_noise=0.5, multiplicative_noise=True)
    config = replace(config, precision=precision, base_batch_size=16, ghost_batch_size=16, max_grad_norm=1.0)
    runs = [
        Run(train(replace(config, cuda_graph=graph), tmp_path / f"{graph}.zarr", device="cuda"))
        for graph in (False, True)
    ]
    assert [len(run.distance) for run in runs] == [60, 60]
    assert runs[0].events == runs[1].events
    np.testing.assert_allclose(runs[1].distance, runs[0].distance, rtol=1e-3)
    for name in ("loss", "learning_rate", "train_loss"):
        np.testing.assert_allclose(runs[1].metrics[name], runs[0].metrics[name], rtol=1e-2)


def test_a_warm_start_begins_at_a_snapshot(plain, tmp_path):
    starts = ((plain.path, 20), (f"{plain.path}@10", 10), (f"{plain.path}@0.5epochs", 10))
    for k, (source, step) in enumerate(starts):
        config = replace(SHORT, epochs=0.1, seed=7, warm_start=str(source))
        run = Run(train(config, tmp_path / f"{k}.zarr"))
        assert run.config["warm_start"] == str(source)
        torch.testing.assert_close(run.state_dict(0), plain.state_dict(step), rtol=0, atol=0)  # buffers as well
        # momentum is fresh: the first update is the gradient step alone
        expected = run.metrics["learning_rate"][1] * _gradient_norm(run, config)
        assert run.distance[1] == pytest.approx(expected, rel=1e-4)


def test_snapshots_by_epochs_stand_beside_those_by_decades(tmp_path):
    for per_decade, steps in ((0, [0, 5, 10, 12]), (1, [0, 1, 5, 10, 12])):
        config = replace(SHORT, epochs=0.6, snapshots_per_decade=per_decade, snapshot_epochs=0.25)
        assert Run(train(config, tmp_path / f"{per_decade}.zarr")).snapshots == steps
    with pytest.raises(ConfigError, match="snapshot_epochs is -1; expected 0 or more"):
        replace(SHORT, snapshot_epochs=-1)


def _gradient_norm(run, config):
    """Of w_0's first batch, clipped, with the weight decay's part."""
    digits = load("digits")
    model = NETWORKS["f1-small"](digits.shape, digits.classes)
    run.load_into(model, 0)
    x, y = next(digits.train_batches(config.batch_size, seed=config.seed, epoch=0, augment=False))
    nn.functional.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    return torch.stack([(p.grad + config.weight_decay * p).norm() for p in model.parameters()]).norm().item()


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("nowhere.zarr", StoreError, "nowhere.zarr"),
        ("{run}@11", StoreError, r"no snapshot at step 11; snapshots are at \[0, 1, 2, 3, 6, 10, 18, 20\]"),
        ("{bare}", ConfigError, "holds no snapshot to start from"),
        ("{other}@1epoch", ConfigError, "does not say how many updates an epoch has; name a step, as in RUN@1000"),
        ("{other}", ConfigError, r"is of another network: 1.bias is none there, \(64,\) here"),
    ],
)
def test_what_cannot_be_started_from_is_told_in_a_line(plain, tmp_path, source, kind, message):
    for name, snapshots in (("bare", None), ("other", 1)):
        model = nn.Linear(2, 2)
        with Recorder(tmp_path / name, model, torch.optim.SGD(model.parameters()), snapshots=snapshots):
            pass
    start = source.format(run=plain.path, bare=tmp_path / "bare", other=tmp_path / "other")
    with pytest.raises(kind, match=message) as caught:
        train(replace(SHORT, warm_start=start), tmp_path / "run.zarr")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run.zarr").exists()


def test_seeds_trained_together_refuse_what_is_for_one(tmp_path):
    with pytest.raises(ConfigError, match="precision is 'bfloat16', for a run by itself"):
        train_batched(replace(SHORT, precision="bfloat16"), {0: tmp_path / "run.zarr"})
