"""`ultraslow fit`, `scan` and `compare` of three seeds."""

import json

import pytest


def test_fit(runs, run):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    assert "3 seeds" in run("fit", *seeds).stdout
    found = json.loads(run("fit", *seeds, "--t-min", 20, "--json").stdout)
    assert found["fit_range"][1] <= 1000  # the learning-rate drop
    assert found["interval"][0] < found["alpha"] < found["interval"][1]
    assert found["alpha"] == pytest.approx(1, abs=0.1)


def test_fit_draws_and_goes_by_layer(runs, tmp_path, run):
    layers = json.loads(run("fit", runs / "sb-0.zarr", "--t-min", 20, "--per-layer", "--json").stdout)
    assert [row["parameter"] for row in layers] == ["weight"]
    assert run("fit", runs / "sb-0.zarr", "--t-min", 20, "--plot", tmp_path / "fit.png").returncode == 0
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")


def test_scan(runs, tmp_path, run):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    rows = json.loads(run("scan", *seeds, "--json", "--plot", tmp_path / "scan.svg").stdout)
    assert [row["t_min"] for row in rows] == sorted(row["t_min"] for row in rows)
    assert all(row["low"] < row["alpha"] < row["high"] for row in rows if row["alpha"] is not None)
    assert "<svg" in (tmp_path / "scan.svg").read_text()
    age, head, *_ = run("scan", *seeds).stdout.splitlines()
    assert age.startswith("w_0 is 0τ old, t = 0τ .. 0τ: without weight decay τ is infinite")
    assert head.split()[0] == "t_min"


def test_compare(runs, tmp_path, run, refused):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    drawn = tmp_path / "laws.svg"
    found = json.loads(run("compare", *seeds, "--t-min", 20, "--plot", drawn, "--columns", 2, "--json").stdout)
    assert "<svg" in drawn.read_text()
    # d = (log (t + 1))^2 is close to the laws of a logarithm with α = 1, also after a jump, and far from a power law
    near = {"ultraslow", "sinai", "jump + sinai", "jump + log"}
    assert {found["best"], *found["not_separable"]} <= near
    assert "gravity" in refused("compare", seeds[0], "--laws", "gravity")


def test_distances_of_a_table_are_fitted_by_each_command(tmp_path, run, refused):
    rows = "".join(f"{t},{t**0.3},{t**0.3 * 1.01},1\n" for t in range(1, 401))
    (tmp_path / "curve.csv").write_text(f"step,far,further,loss\n{rows}")
    for command in ("fit", "scan", "compare"):
        found = json.loads(run(command, tmp_path / "curve.csv", "--scalar", "far", "--json").stdout)
        assert found
        assert "name the one with the distances" in refused(command, tmp_path / "curve.csv")
    assert "no such file" in refused("fit", tmp_path / "none.csv")


def test_runs_of_another_batch_size_are_refused_unless_forced(runs, run, refused):
    both = runs / "sb-0.zarr", runs / "lb.zarr"
    for command in ("fit", "scan", "compare"):
        assert "no seeds of one experiment" in refused(command, *both)


def test_budget_equilibrium_and_collapse_of_trained_runs(tmp_path, run, refused):
    options = ["--epochs", 2, "--drops", 2, 0.1, "--snapshots-per-decade", 0, "--weight-decay", 0.01]
    quantities = ["--quantities", "distance", "update_norm", "norm"]
    for batch in (16, 32, 64):
        done = run(
            "train", "f1-digits", *options, *quantities, "--batch-size", batch, "--out", tmp_path / f"{batch}.zarr"
        )
        assert done.returncode == 0, done.stderr
    found = json.loads(
        run("budget", tmp_path / "16.zarr", "--t-min", 20, "--json", "--plot", tmp_path / "r.svg").stdout
    )
    assert [(row["t_start"], row["t_end"]) for row in found["windows"]] == [(20, 40), (40, 80), (80, 160)]
    assert found["equilibrium"]["memory"] == pytest.approx(200)
    assert "<svg" in (tmp_path / "r.svg").read_text()
    assert "memory times" in run("budget", tmp_path / "16.zarr", "--t-min", 20).stdout
    exponents = json.loads(run("collapse", *sorted(tmp_path.glob("*.zarr")), "--t-max", 40, "--json").stdout)
    assert exponents["a"] is None
    assert exponents["b_interval"][0] < exponents["b"] < exponents["b_interval"][1]
    sweep = ("critical-batch", *sorted(tmp_path.glob("*.zarr")), "--distance", 1)
    critical = json.loads(run(*sweep, "--json").stdout)
    assert critical["interval"][0] <= critical["batch_size"]
    assert [row["batch_size"] for row in critical["frame"]] == [16, 32, 64]
    assert "S_min (1 + B_c/B)" in run(*sweep).stdout
    assert "expected it to reach 1e+06" in refused(*sweep[:-1], 1e6)
    assert "one learning rate and one batch size" in refused("collapse", tmp_path / "16.zarr")


def test_origins_that_were_not_recorded_are_said_to_be_missing(runs, refused):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    assert "expected two or more: record with origins" in refused("origins", *seeds)
    for command in ("fit", "scan", "compare"):
        assert "expected two or more: record with origins" in refused(command, *seeds, "--origins", "all")
    assert "expected all, or the numbers of updates" in refused("fit", *seeds, "--origins", "5tau")
    assert "expected one of them" in refused("fit", *seeds, "--origins", "all", "--origin", 0)


def test_a_run_without_update_norms_has_no_budget(runs, refused):
    assert "expected update_norm too: record with" in refused("budget", runs / "sb-0.zarr")


def test_ageing_of_a_trained_run(tmp_path, run, refused):
    options = ["--epochs", 2, "--drops", 2, 0.1, "--snapshots-per-decade", 0]
    sketched = ["--sketch", 256, "--sketches", "every:10", "--origins", 10, 20, 40, 60]
    done = run("train", "f1-digits", *options, *sketched, "--out", tmp_path / "run.zarr")
    assert done.returncode == 0, done.stderr
    found = json.loads(run("ageing", tmp_path / "run.zarr", "--json", "--plot", tmp_path / "a.svg").stdout)
    assert -0.5 <= found["two_time"]["mu"] <= 1.5
    assert found["time_averaged"]["lags"][0]["lag"] == 10
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert "waiting times" in run("ageing", tmp_path / "run.zarr").stdout
    alone = run("ageing", tmp_path / "run.zarr", "--start", 60, "--json")
    assert json.loads(alone.stdout)["time_averaged"]["steps"] == [60, 160]
    alone = run("ageing", tmp_path / "run.zarr", "--start", 150, "--json")
    assert json.loads(alone.stdout)["time_averaged"] is None
    assert "ultraslow: no averages over time: run: holds sketches at steps 150, 160; expected four" in alone.stderr
    plain = tmp_path / "plain.zarr"
    assert run("train", "f1-digits", "--epochs", 0.2, "--drops", 1, 0.1, "--out", plain).returncode == 0
    assert "record with origins" in refused("ageing", plain)
