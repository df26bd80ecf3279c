"""`ultraslow potential`, `sharpness`, `spectrum` and `path` of short runs, and what Ctrl-C leaves."""

import json
from dataclasses import replace
from shutil import copytree

import pytest
import torch

from train import RECIPES, train
from train.reproduce.rebuild import Landscapes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    recipe = replace(RECIPES["f1-digits"](), epochs=0.5, label="SB 16")
    return [train(replace(recipe, seed=seed), folder / f"sb-{seed}.zarr") for seed in range(3)]


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C when the objective is asked for the k-th time."""

    def after(k):
        calls, objective = [], Landscapes.objective

        def counted(self, *arguments, **options):
            calls.append(arguments)
            if len(calls) == k:
                raise KeyboardInterrupt
            return objective(self, *arguments, **options)

        monkeypatch.setattr(Landscapes, "objective", counted)

    return after


FEW = ("--samples", 60)


def test_potential(trained, run, tmp_path):
    drawn = tmp_path / "potential.png"
    options = (*FEW, "--directions", 1, "--points", 3)
    found = json.loads(run("potential", *trained, *options, "--json", "--plot", drawn).stdout)
    assert found["origins"] == 3
    assert found["statistics"] == "batch"
    assert found["note"].startswith("α = 2 is what Taylor's expansion gives for any smooth loss")
    assert drawn.read_bytes().startswith(b"\x89PNG")
    shown = run("potential", *trained, *options, "--distances", 0.01, 0.1).stdout
    assert "z = 0.01 .. 0.1, 3 of them" in shown
    assert "the gradient alone explains" in shown
    alone = run("potential", *trained, *options, "--step", 10, "--json")
    assert json.loads(alone.stdout)["agreement"] is None
    assert "ultraslow: no α of the curve: " in alone.stderr


def test_origins_are_seeds_of_one_experiment(trained, run, refused, tmp_path):
    other = train(replace(RECIPES["f1-digits"](), epochs=0.5, batch_size=64, seed=7), tmp_path / "lb.zarr")
    options = (*trained[:2], other, *FEW, "--directions", 1, "--points", 3)
    assert "are no seeds of one experiment: batch_size is 64 and 16" in refused("potential", *options)
    forced = run("potential", *options, "--force")
    assert "3 origins of 1 directions" in forced.stdout


def test_potential_keeps_the_origins_that_are_done(trained, run, interrupted):
    interrupted(4)  # the first call is for the cost
    done = run("potential", *trained, *FEW, "--directions", 1, "--points", 3)
    assert done.returncode == 130
    assert "2 origins of 1 directions" in done.stdout
    assert "interrupted; 2 of 3 origins are done" in done.stderr


def test_sharpness(trained, run, tmp_path):
    drawn = tmp_path / "sharpness.png"
    options = (*FEW, "--eps", 1e-3, "--subspace", 5, "--l-bfgs-b", "--plot", drawn)
    found = json.loads(run("sharpness", *trained[:2], *options, "--json").stdout)
    measures = ["ε 0.001", "ε 0.001, subspace 5", "ε 0.001, L-BFGS-B", "ρ 0.01"]
    assert [row["name"] for row in found[:4]] == measures
    assert [row["statistics"] for row in found] == 2 * (4 * ["running"] + 4 * ["batch"])
    assert all(row["phi"] >= 0 for row in found)
    assert drawn.read_bytes().startswith(b"\x89PNG")
    shown = run("sharpness", trained[0], *FEW, "--statistics", "batch").stdout
    assert "No sharpness predicts generalisation well" in shown
    assert shown.count("sb-0") == 3


def test_sharpness_keeps_the_measurements_that_are_done(trained, run, interrupted):
    interrupted(3)
    done = run("sharpness", *trained[:2], *FEW, "--statistics", "batch", "--json")
    assert done.returncode == 130
    assert len(json.loads(done.stdout)) == 3
    assert "3 of 6 measurements are done" in done.stderr


def test_spectrum(trained, run, tmp_path):
    drawn = tmp_path / "density.png"
    options = (*FEW, "--statistics", "batch", "--eigenvalues", 2, "--probes", 2)
    (row,) = json.loads(run("spectrum", trained[0], *options, "--plot", drawn, "--json").stdout)
    assert row["eigenvalues"]["values"][0] > row["eigenvalues"]["values"][1]
    assert row["trace"]["error"] > 0
    assert sum(row["density"]["weights"]) == pytest.approx(1)
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert "±" in run("spectrum", trained[0], *options).stdout


def test_runs_of_one_name_are_told_apart_by_their_folders(trained, run, tmp_path):
    runs = [copytree(trained[k], tmp_path / folder / "sb.zarr") for k, folder in enumerate(("small", "large"))]
    names, drawn = ["small/sb", "large/sb"], tmp_path / "density.svg"
    options = (*FEW, "--statistics", "batch", "--json")
    rows = json.loads(
        run("spectrum", *runs, *options, "--eigenvalues", 1, "--probes", 2, "--plot", drawn, "--columns", 2).stdout
    )
    assert [row["run"] for row in rows] == names
    assert all(f"{name}, batch statistics" in drawn.read_text() for name in names)
    rows = json.loads(run("sharpness", *runs, *options, "--eps", 1e-3).stdout)
    assert list(dict.fromkeys(row["run"] for row in rows)) == names
    (line,) = json.loads(run("path", *runs, *FEW, "--points", 4, "--json").stdout)["lines"]
    assert (line["from"], line["to"]) == ("small/sb@40", "large/sb@40")


def test_spectrum_keeps_what_is_done(trained, run, interrupted):
    interrupted(3)
    done = run("spectrum", *trained[:2], *FEW, "--statistics", "batch", "--eigenvalues", 1, "--probes", 2)
    assert done.returncode == 130
    assert "sb-0" in done.stdout
    assert "1 of 2 spectra are done" in done.stderr


def test_path(trained, run, tmp_path):
    drawn = tmp_path / "path.png"
    found = json.loads(run("path", *trained, *FEW, "--points", 4, "--along", "--json", "--plot", drawn).stdout)
    assert [line["to"] for line in found["lines"]] == ["sb-1@40", "sb-2@40"]
    assert all(line["train"]["barrier"] >= 0 and len(line["test"]["points"]) == 4 for line in found["lines"])
    assert found["along"][0]["step"] == 0
    assert drawn.read_bytes().startswith(b"\x89PNG")
    shown = run("path", f"{trained[0]}@10", *FEW, "--points", 4).stdout
    assert "sb-0@0" in shown
    assert "sb-0@10" in shown


def test_a_path_to_a_run_on_other_data_says_whose_loss_it_is(trained, run, tmp_path):
    other = train(replace(RECIPES["f1-digits"](), epochs=0.1, label_noise=0.2), tmp_path / "noisy.zarr")
    (line,) = run("path", *trained[:2], other, *FEW, "--points", 4).stderr.splitlines()
    assert f"{other}: its label_noise is 0.2, that of {trained[0]} 0.0; the loss is of the latter's data" in line


def test_an_error_keeps_what_is_done(trained, run, tmp_path):
    other = train(replace(RECIPES["f1-digits"](), network="f1", epochs=0.1), tmp_path / "other.zarr")
    done = run("path", *trained[:2], other, *FEW, "--points", 4)
    assert done.returncode == 1
    assert "sb-1@40" in done.stdout
    assert done.stderr.splitlines()[0] == "ultraslow: 1 of 2 lines are done"
    assert "the weights do not fit the model" in done.stderr.splitlines()[1]
    drawn = run("sharpness", trained[0], *FEW, "--statistics", "batch", "--plot", "/proc/none/here.png")
    assert drawn.returncode == 1
    assert "No sharpness predicts" in drawn.stdout  # printed before the figure that cannot be written


def test_costs_are_announced_where_they_are_over_a_minute(trained, run, monkeypatch):
    monkeypatch.setattr("ultraslow.cli.landscape._WORTH_SAYING", 0.0)
    done = run("path", *trained[:2], *FEW, "--points", 4)
    assert "about 8 evaluations of the loss of" in done.stderr
    options = ("--statistics", "batch", "--eigenvalues", 1, "--probes", 2)
    assert "about 8 Hessian-vector products of" in run("spectrum", trained[0], *FEW, *options).stderr


def test_what_rounding_costs_is_said_in_one_line(tmp_path, run):
    from train import rebuild
    from trajectory import Recorder, Run

    recipe = replace(RECIPES["f1-digits"](), epochs=0.1)
    exact = Run(train(recipe, tmp_path / "exact.zarr"))
    model, _ = rebuild(exact)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rounded = tmp_path / "rounded.zarr"
    Recorder(rounded, model, optimizer, snapshots=[0], snapshot_dtype="bfloat16", config=exact.config).close()
    done = run("sharpness", rounded, *FEW, "--statistics", "batch")
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "bfloat16, which moves each weight by up to 0.4 %" in line


def test_bad_input_is_refused_in_one_line(trained, runs, refused):
    assert "holds no snapshot" in refused("sharpness", runs / "sb-0.zarr")
    assert "expected two or more seeds" in refused("potential", trained[0])
    copy = trained[0].parent / "copy.zarr"
    copytree(trained[0], copy)
    assert "have the same weights at step 0; expected different seeds" in refused("potential", trained[0], copy)
    for command in ("potential", "sharpness", "spectrum", "path"):
        assert "no figure format .foo" in refused(command, *trained[:2], "--plot", "x.foo")
    assert "given twice" in refused("potential", trained[0], trained[0])
    assert "no snapshot at step 7" in refused("spectrum", trained[0], "--step", 7)
    assert "samples is 5000; expected 2 to 1280" in refused("path", *trained[:2], "--samples", 5000)
    assert "subspace = 20000" in refused("sharpness", trained[0], *FEW, "--subspace", 20000)
    assert "expected a radius that float32 weights resolve" in refused("sharpness", trained[0], *FEW, "--eps", 1e-9)
    assert "rho = nan: expected a radius" in refused("sharpness", trained[0], *FEW, "--rho", "nan")
    assert "probes = 1: expected two or more" in refused("spectrum", trained[0], *FEW, "--probes", 1)
    assert "k = 20000: expected" in refused("spectrum", trained[0], *FEW, "--eigenvalues", 20000)
    assert "distances 1 to inf" in refused("potential", *trained, *FEW, "--distances", 1, "inf")
    assert "lost in the rounding" in refused("potential", *trained, *FEW, "--distances", 1e-9, 1.0)
