"""The table from stores, against means and deviations worked out here, and the paper's numbers as printed there."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from analysis import CurveError, runs_in
from train import table
from train.configs.recipes import f1_mnist
from train.errors import TableError
from train.reproduce.paper import ACCURACY
from train.reproduce.table import paper_method
from trajectory import Recorder
from ultraslow.cli.table import table as print_table_of_runs

SMALL = f1_mnist()
LARGE = replace(SMALL, batch_size=4096)


def record(path, config, error, *, updates=3, complete=True, without=()):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorded = config.record(60_000)
    recorded["settings"] = {name: value for name, value in recorded["settings"].items() if name not in without}
    recorder = Recorder(path, model, optimizer, config=recorded, seed=config.seed)
    try:
        with recorder:
            for t in range(1, updates + 1):
                model(torch.ones(1, 1)).sum().backward()
                optimizer.step()
                recorder.log(validation_error=1.0 if t < updates else error, epoch=float(t), wall_time=60.0 * t)
            if not complete:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass


def test_seeds_are_averaged_at_the_end_and_held_against_the_paper(tmp_path):
    for seed, error in enumerate((0.02, 0.03, 0.04)):
        record(tmp_path / f"sb-{seed}.zarr", replace(SMALL, seed=seed), error)
    record(tmp_path / "a-lr.zarr", replace(LARGE, lr_scaling="sqrt", label="scaled"), 0.1, updates=5)
    record(tmp_path / "fashion.zarr", replace(SMALL, dataset="fashion-mnist"), 0.2)
    record(tmp_path / "killed.zarr", LARGE, 0.1, complete=False)
    frame = table(tmp_path)
    assert frame.attrs["left_out"] == ["killed"]
    assert frame[["data", "method", "n"]].values.tolist() == [
        ["fashion-mnist", "SB 128", 1],
        ["mnist", "SB 128", 3],
        ["mnist", "scaled", 1],
    ]
    small, scaled = frame.iloc[1], frame.iloc[2]
    assert (small["accuracy"], small["std"], small["paper"]) == pytest.approx((97, 1, 98.27))
    assert (scaled["accuracy"], scaled["paper"]) == pytest.approx((90, 97.55))
    assert (scaled["updates"], scaled["epochs"], scaled["wall_time"]) == (5, 5, 300)
    assert frame["std"].isna().tolist() == [True, False, True]
    assert frame["paper"].isna().tolist() == [True, False, False]


def test_both_protocols_stand_in_one_table(tmp_path, capsys):
    record(tmp_path / "0.zarr", SMALL, 0.02)
    record(tmp_path / "1.zarr", replace(SMALL, protocol="published"), 0.04)
    assert table(tmp_path)[["protocol", "n", "accuracy"]].values.tolist() == [
        ["default", 1, 98],
        ["published", 1, 96],
    ]
    print_table_of_runs(str(tmp_path), markdown=True)
    head, rule, first, second = capsys.readouterr().out.splitlines()
    assert head == "| network | data | protocol | method | n | accuracy | paper | updates | epochs | min |"
    assert rule.count("---") == 10
    assert first.startswith("| f1 | mnist | default | SB 128 | 1 | 98.00 | 98.27 |")
    assert "published" in second
    print_table_of_runs(str(tmp_path / "0.zarr"), markdown=True)
    assert "protocol" not in capsys.readouterr().out


def test_runs_of_one_label_but_other_settings_are_not_seeds(tmp_path):
    record(tmp_path / "0.zarr", SMALL, 0.02)
    record(tmp_path / "1.zarr", replace(SMALL, seed=1, epochs=5), 0.04)
    assert table([tmp_path / "0.zarr", tmp_path / "1.zarr"])["n"].tolist() == [1, 1]


def test_runs_of_an_earlier_version_are_seeds_where_what_it_lacks_is_at_its_default(tmp_path):
    lacks = ("precision", "compile", "warm_start", "protocol", "optimizer", "betas", "quantities", "sketches")
    record(tmp_path / "0.zarr", SMALL, 0.02, without=lacks)
    record(tmp_path / "1.zarr", replace(SMALL, seed=1), 0.04)
    record(tmp_path / "2.zarr", replace(SMALL, seed=2, precision="bfloat16", label="SB 128"), 0.04)
    assert table(tmp_path)["n"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("switches", "method"),
    [
        ({"batch_size": 128}, "SB"),
        ({"batch_size": 128, "match": ("a.zarr",)}, None),
        ({}, "LB"),
        ({"ghost_batch_size": 8192}, "LB"),
        ({"lr_scaling": "sqrt"}, "+LR"),
        ({"lr_scaling": "sqrt", "ghost_batch_size": 128}, "+GBN"),
        ({"lr_scaling": "sqrt", "ghost_batch_size": 128, "regime_adaptation": True}, "+RA"),
        ({"lr_scaling": "sqrt", "regime_adaptation": True}, None),
        ({"lr_scaling": "linear"}, None),
        ({"multiplicative_noise": True}, None),
    ],
)
def test_a_method_is_the_papers_only_if_nothing_else_is_switched(switches, method):
    assert paper_method(json.loads(json.dumps(replace(LARGE, **switches).record(60_000)))) == method


def test_the_papers_numbers():
    assert ACCURACY["resnet44", "cifar10"] == {"SB": 92.83, "LB": 86.1, "+LR": 89.3, "+GBN": 90.5, "+RA": 93.07}
    assert len(ACCURACY) == 7


def test_what_no_table_can_be_made_of_is_told(tmp_path):
    with pytest.raises(CurveError, match="no run is in that folder"):
        runs_in(tmp_path)
    record(tmp_path / "killed.zarr", SMALL, 0.1, complete=False)
    with pytest.raises(TableError, match="got 1 runs and none is complete"):
        table(tmp_path)
    model = nn.Linear(1, 1)
    with Recorder(tmp_path / "bare.zarr", model, torch.optim.SGD(model.parameters())):
        pass
    with pytest.raises(TableError, match="bare: its configuration has no 'network'"):
        table(tmp_path / "bare.zarr")
