"""The command line as real processes: what it prints, its exit status, and one line for every mistake."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from train.configs.recipes import RECIPES, f1_digits
from train.configs.toml import write_recipe
from trajectory import Recorder, Run, StoreError
from ultraslow.cli import app


def process(*arguments):
    """A command as a user starts it."""
    command = [sys.executable, "-m", "ultraslow", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(*arguments):
    """The same in this process, where torch and scipy are imported already."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), mock.patch("sys.argv", ["ultraslow", *map(str, arguments)]):
        try:
            app.main()
            status = 0
        except SystemExit as end:
            status = end.code
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def refused(*arguments, start=run):
    """The one line on stderr of a command that ends with status 1 and prints nothing else."""
    done = start(*arguments)
    assert done.returncode == 1, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("ultraslow: ")
    return line


def record(path, distances, *, drop=None, width=4, batch_size=16, label=""):
    """A run whose distance after t updates is distances[t - 1], moved there along one weight."""
    model = nn.Linear(width, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    config = {"batch_size": batch_size, "train_size": 160, "lr": 0.1, "label": label}
    with Recorder(path, model, optimizer, config=config, seed=0) as recorder:
        at = 0.0
        for t, distance in enumerate(distances, 1):
            model.weight.grad = torch.zeros(1, width)
            model.weight.grad[0, 0] = at - float(distance)
            optimizer.step()
            at = float(distance)
            if t % 100 == 0:
                recorder.log(epoch=t / 10, validation_error=1 / t)
            if t == drop:
                recorder.event("lr_drop", lr_from=1.0, lr_to=0.1)
    return path


def law(updates, *, alpha=1.0, amplitude=1.0, seed=0):
    """d = A (log t)^(2/α) from t = 2 on, with 0.1 % of noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(1, updates + 1)
    return amplitude * np.log(t + 1.0) ** (2 / alpha) * np.exp(1e-3 * rng.normal(size=updates))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for k in range(3):
        record(folder / f"sb-{k}.zarr", law(2000, seed=k), drop=1000, label="SB 16")
    record(folder / "lb.zarr", 0.9 * law(2000, seed=7), batch_size=256, label="LB 256")
    record(folder / "wide.zarr", law(300), width=5)
    record(folder / "empty.zarr", [])
    record(folder / "short.zarr", law(8))
    (folder / "notes").mkdir()
    return folder


def test_a_command_is_a_process_with_an_exit_status(runs):
    done = process("info", runs / "sb-0.zarr")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1000 (1.0 → 0.1)" in done.stdout
    assert "no such run" in refused("fit", runs / "none.zarr", start=process)
    done = process("fit", runs / "sb-0.zarr", "--t-mim", "3")
    assert (done.returncode, done.stdout) == (2, "")


def test_help_has_an_example_of_every_command():
    commands = ("demo", "train", "sweep", "import", "info", "verify")
    commands += ("fit", "scan", "compare", "match", "plan", "table", "plot")
    assert f"{{{','.join(commands)}}}" in run("--help").stdout
    for command in commands:
        done = run(command, "--help")
        assert done.returncode == 0
        assert f"$ ultraslow {command}" in done.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["fit"], ["fit", "a.zarr", "--t-mim", "3"], ["plot", "error"]])
def test_wrong_usage_is_status_2(arguments):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_info(runs):
    text = run("info", runs / "sb-0.zarr").stdout
    assert "complete" in text
    assert "1000 (1.0 → 0.1)" in text
    facts = json.loads(run("info", runs / "sb-0.zarr", "--json").stdout)
    assert facts["steps"] == [1, 2000]
    assert facts["weights"] == 4
    assert facts["events"] == [{"step": 1000, "name": "lr_drop", "lr_from": 1.0, "lr_to": 0.1}]
    assert json.loads(run("info", runs / "empty.zarr", "--json").stdout)["recorded"] == 0


def test_a_url_stands_for_a_run():
    url = "memory://command-line/run.zarr"
    record(url, law(100))
    assert json.loads(run("info", url, "--json").stdout)["path"] == url
    assert run("verify", url).stdout == f"{url}: intact\n"
    assert "cannot be opened" in refused("info", "nonsense://command-line/run.zarr")


def test_import_makes_a_run_of_checkpoints(tmp_path):
    for step in (0, 100):
        torch.save({"w": torch.full((4,), float(step))}, tmp_path / f"step={step}.pt")
    done = run("import", tmp_path, "--out", tmp_path / "run.zarr", "--no-snapshots")
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(run("info", tmp_path / "run.zarr", "--json").stdout)
    assert (facts["steps"], facts["distance"], facts["snapshots"]) == ([100, 100], 200.0, [])
    assert "got 1 checkpoints" in refused("import", tmp_path / "step=0.pt", "--out", tmp_path / "one.zarr")


def test_verify(runs, tmp_path):
    assert run("verify", runs / "sb-0.zarr").stdout.endswith("intact\n")
    killed = shutil.copytree(runs / "lb.zarr", tmp_path / "killed.zarr")
    (killed / "distance" / "c" / "9.partial").write_bytes(b"torn")
    done = run("verify", killed)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert "distance/c/9.partial [--repair repairs it]" in done.stdout
    assert json.loads(run("verify", killed, "--json").stdout)[0]["repairable"]
    assert run("verify", killed, "--repair").returncode == 0
    assert run("verify", killed).returncode == 0
    assert "no such run" in refused("verify", tmp_path / "none.zarr")


def test_fit(runs):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    assert "3 seeds" in run("fit", *seeds).stdout
    found = json.loads(run("fit", *seeds, "--t-min", 20, "--json").stdout)
    assert found["fit_range"][1] <= 1000  # the learning-rate drop
    assert found["interval"][0] < found["alpha"] < found["interval"][1]
    assert found["alpha"] == pytest.approx(1, abs=0.1)


def test_fit_draws_and_goes_by_layer(runs, tmp_path):
    layers = json.loads(run("fit", runs / "sb-0.zarr", "--t-min", 20, "--per-layer", "--json").stdout)
    assert [row["parameter"] for row in layers] == ["weight"]
    assert run("fit", runs / "sb-0.zarr", "--t-min", 20, "--plot", tmp_path / "fit.png").returncode == 0
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")


def test_scan(runs, tmp_path):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    rows = json.loads(run("scan", *seeds, "--json", "--plot", tmp_path / "scan.svg").stdout)
    assert [row["t_min"] for row in rows] == sorted(row["t_min"] for row in rows)
    assert all(row["low"] < row["alpha"] < row["high"] for row in rows if row["alpha"] is not None)
    assert "<svg" in (tmp_path / "scan.svg").read_text()
    assert run("scan", *seeds).stdout.split()[0] == "t_min"


def test_compare(runs, tmp_path):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    drawn = tmp_path / "laws.svg"
    found = json.loads(run("compare", *seeds, "--t-min", 20, "--plot", drawn, "--columns", 2, "--json").stdout)
    assert "<svg" in drawn.read_text()
    # d = (log (t + 1))^2 is close to the ultra-slow law with α = 1, and far from a power law
    assert found["best"] == "ultraslow"
    assert "power law" not in {found["best"], *found["not_separable"]}
    assert "gravity" in refused("compare", seeds[0], "--laws", "gravity")


def test_match(runs):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    assert "matched" in run("match", seeds[0], runs / "lb.zarr", "--seeds", *seeds[1:]).stdout
    found = json.loads(run("match", seeds[0], runs / "lb.zarr", "--json").stdout)
    (first, *_) = found["matches"]
    # .9 (log t)² = (log 1001)²: t = exp(log(1001) / √.9) - 1 = 1455
    assert first["status"] == "matched"
    assert first["step"] == pytest.approx(1455, rel=0.06)


def test_a_run_that_has_not_matched_yet_gets_a_forecast(runs, tmp_path):
    early = record(tmp_path / "early.zarr", 0.9 * law(900, seed=5))
    found = json.loads(run("match", runs / "sb-0.zarr", early, "--json").stdout)
    low, high = found["forecast"]["interval"]
    assert found["matches"][0]["status"] in ("armed", "never_reached")
    assert low < 1455 < high  # as in test_match
    assert str(round(found["forecast"]["step"])) in run("match", runs / "sb-0.zarr", early).stdout
    assert "no forecast: " in run("match", runs / "sb-0.zarr", runs / "short.zarr").stdout


def test_match_draws_what_it_says(runs, tmp_path):
    for run_, file in (("lb.zarr", "matched.png"), ("short.zarr", "waiting.svg")):
        assert run("match", runs / "sb-0.zarr", runs / run_, "--plot", tmp_path / file).returncode == 0
    assert (tmp_path / "matched.png").read_bytes().startswith(b"\x89PNG")
    assert "from update 50 are unknown" in refused("match", runs / "sb-0.zarr", runs / "lb.zarr", "--origin", 50)


def test_a_plan_becomes_a_recipe_that_trains(runs, tmp_path):
    small, large = tmp_path / "small.zarr", tmp_path / "large.zarr"
    assert run("train", "f1-digits", "--epochs", 16, "--lr", 0.02, "--out", small).returncode == 0
    recipe = tmp_path / "large.toml"
    found = json.loads(run("plan", small, "--batch-size", 64, "--out", recipe, "--json").stdout)
    # 16 epochs of 80 updates with a drop after 15, in batches of 64: 20 updates an epoch
    assert (found["updates"], found["epochs"], found["drop_epochs"]) == (1280, 64, [60])
    assert found["lr"] == pytest.approx(0.04)
    assert "0.04" in run("plan", small, "--batch-size", 64).stdout
    lines = recipe.read_text().splitlines()  # which states what the table says at the reference's batch
    assert "lr = 0.02  # at batch 16: × √(64/16), 0.04" in lines
    assert (
        "epochs = 24.0  # at batch 16: at most 96 epochs of batch 64, 1.5 × the plan's 1280 updates,"
        " in case the match comes late"
    ) in lines
    done = run("train", recipe, "--epochs", 2, "--out", large)
    assert done.returncode == 0, done.stderr
    config = Run(large).config
    assert (config["batch_size"], config["ghost_batch_size"], config["warmup_steps"]) == (64, 16, 100)
    assert config["match"] == [str(small)]
    assert config["lr"] == pytest.approx(0.04)

    assert "not trained by `ultraslow train`" in refused(
        "plan", runs / "sb-0.zarr", "--batch-size", 64, "--out", recipe
    )
    assert "expected 1 to 1280" in refused("plan", small, "--batch-size", 4096)
    assert "no learning-rate drop" in refused("plan", runs / "lb.zarr", "--batch-size", 64)
    recipe.write_text("lr = fast")
    assert "not a recipe" in refused("train", recipe)


def test_an_unknown_figure_is_named_with_those_there_are():
    done = run("plot", "spiral", "no-such-run", "--out", "x.png")
    assert done.returncode == 2
    told = " ".join(done.stderr.replace("│", " ").split())
    assert "invalid choice 'spiral'" in told
    assert "distance-adaptation" in told
    assert "no-such-run" not in told
    assert "distance-adaptation" in run("plot", "--help").stdout


def test_plot(runs, tmp_path):
    for figure in ("distance", "error-updates", "error-epochs"):
        file = tmp_path / f"{figure}.pdf"
        done = run("plot", figure, runs / "sb-0.zarr", runs / "lb.zarr", "--out", file)
        assert done.stdout.split() == [str(file)]
        assert file.read_bytes().startswith(b"%PDF")


def test_mistakes_with_runs_are_one_line(runs, tmp_path):
    assert "no such run" in refused("fit", runs / "none.zarr")
    assert "not a run" in refused("info", runs / "notes")
    assert "short" in refused("fit", runs / "short.zarr")
    assert "empty" in refused("fit", runs / "empty.zarr")
    assert "drop" in refused("match", runs / "lb.zarr", runs / "sb-0.zarr")
    assert "wide" in refused("match", runs / "sb-0.zarr", runs / "wide.zarr")
    assert "x.docx" in refused("plot", "distance", runs / "lb.zarr", "--out", tmp_path / "x.docx")
    blocked = runs / "sb-0.zarr" / "zarr.json" / "x.png"
    assert "x.png" in refused("plot", "distance", runs / "lb.zarr", "--out", blocked)


def test_mistakes_in_training_are_one_line(tmp_path):
    nowhere = tmp_path / "x.zarr"
    assert "did you mean f1-mnist?" in refused("train", "f1-mnits", "--out", nowhere)
    assert "batch_size" in refused("train", "f1-digits", "--batch-size", 5000, "--out", nowhere)
    assert "expected a whole number of at least 2" in refused(
        "train", "f1-digits", "--ghost-batch-size", 1, "--out", nowhere
    )
    assert "expected cuda, in one process" in refused("train", "f1-digits", "--cuda-graph", "--out", nowhere)
    assert "gone.zarr" in refused("train", "f1-digits", "--warm-start", tmp_path / "gone.zarr@10", "--out", nowhere)
    assert "expected one of them" in refused("train", "f1-digits", "--resume", "--overwrite", "--out", nowhere)
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused("train", "f1-digits", "--out", tmp_path / "file" / "x.zarr")
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"not digits")
    other = record(tmp_path / "other.zarr", law(300), drop=200)
    assert "expected the same network" in refused("train", "f1-digits", "--match", other, "--out", nowhere)
    assert "was not recorded by train" in refused("train", "f1-digits", "--resume", "--out", other)
    assert "ubyte" in refused("train", "f1-mnist", "--data-root", tmp_path / "data", "--out", nowhere)
    assert not nowhere.exists()


def test_the_recipes_are_listed():
    lines = run("train", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)
    assert lines[1].endswith(
        "F1 on MNIST: learning rate .1, ÷ 10 at epochs 10, 20 and 30 of 50 (the paper's published code)."
    )
    assert "no recipe is given; expected a TOML file, or one of f1-digits, f1-mnist" in refused("train")
    assert "no recipe is given" in refused("train", "--epochs", 3)


def test_the_help_of_a_recipe_shows_its_own_values():
    help_text = " ".join(run("train", "f1-mnist", "--help").stdout.replace("│", " ").split())
    assert "usage: ultraslow train f1-mnist" in help_text
    assert "$ ultraslow train f1-mnist --data-root data" in help_text
    assert "Learning rate at the base batch size, before the first drop. (default: 0.1)" in help_text
    assert "is multiplied by the factor. (default: 10 0.1 20 0.1 30 0.1)" in help_text
    assert "--regime-adaptation, --no-regime-adaptation" in help_text
    assert "(default: 0.05)" in run("train", "--help", "f1-digits").stdout.replace("│", " ")
    assert "$ ultraslow train f1-mnist" in run("train", "--help").stdout


def test_a_switch_of_a_recipe_file_can_be_turned_off(tmp_path):
    write_recipe(replace(f1_digits(), epochs=0.1, regime_adaptation=True, augment=True), tmp_path / "recipe.toml")
    store = tmp_path / "run.zarr"
    options = ["--no-regime-adaptation", "--no-augment", "--max-grad-norm", "None", "--out", store]
    done = run("train", *options, tmp_path / "recipe.toml")  # the recipe may stand behind the options
    assert done.returncode == 0, done.stderr
    settings = Run(store).config["settings"]
    assert [settings[name] for name in ("regime_adaptation", "augment", "max_grad_norm")] == [False, False, None]


def test_seeds_are_trained_together(tmp_path):
    options = ["--epochs", 0.1, "--input-noise", 0, "--seeds", "2,4", "--out", tmp_path]
    done = run("train", "f1-digits", *options, "--batched")
    assert done.returncode == 0, done.stderr
    stores = [tmp_path / f"f1-digits-sb-16-seed{seed}.zarr" for seed in (2, 4)]
    assert sorted(tmp_path.iterdir()) == stores
    for seed, store in zip((2, 4), stores, strict=True):
        assert Run(store).seed == seed
        assert Run(store).config["batched_seeds"] == [2, 4]
    assert done.stdout.count("│ path ") == 2
    assert "got batched with no seeds; expected --seeds" in refused("train", "f1-digits", "--batched")
    assert "got batched with resume" in refused("train", "f1-digits", *options, "--batched", "--resume")


def test_every_switch_of_a_run_reaches_it(tmp_path):
    numbers = (
        "batch-size 64 epochs 1 lr 0.2 lr-scaling linear ghost-batch-size 16 warmup-steps 3 momentum 0 weight-decay 0"
    )
    numbers += " max-grad-norm 0 input-noise 0.1 label-noise 0.2"
    numbers += " snapshots-per-decade 0 rows-per-decade 3 origins 2 5 drops 0.5 0.1 0.7 0.5 label mine"
    options = [
        f"--{word}" if word[0].isalpha() and word not in ("linear", "mine") else word for word in numbers.split()
    ]
    switches = ["--regime-adaptation", "--multiplicative-noise"]
    done = run("train", "f1-digits", *options, *switches, "--out", tmp_path, "--seeds", "0,3")
    assert done.returncode == 0, done.stderr
    names = [f"f1-digits-lb-64-linear-lr-gbn-ra-noise-seed{seed}" for seed in (0, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.zarr" for name in names]
    config = Run(tmp_path / f"{names[1]}.zarr").config
    drops, origins = [[0.5, 0.1], [0.7, 0.5]], [2, 5]
    expected = {
        "batch_size": 64,
        "epochs": 1,
        "lr": 0.2,
        "lr_scaling": "linear",
        "ghost_batch_size": 16,
        "warmup_steps": 3,
    }
    expected |= {"momentum": 0, "weight_decay": 0, "max_grad_norm": None, "input_noise": 0.1, "label_noise": 0.2}
    expected |= {
        "snapshots_per_decade": 0,
        "rows_per_decade": 3,
        "origins": origins,
        "drops": drops,
        "label": "mine",
        "seed": 3,
    }
    expected |= {"regime_adaptation": True, "multiplicative_noise": True}
    assert config["settings"] == {**config["settings"], **expected}
    assert "seeds is '3-1'" in refused("train", "f1-digits", "--seeds", "3-1")


def test_weights_that_turn_nan_stop_the_run_and_leave_it_readable(tmp_path):
    path = tmp_path / "run.zarr"
    line = refused("train", "f1-digits", "--lr", "1e30", "--max-grad-norm", 0, "--epochs", 4, "--out", path)
    assert "loss is nan at update" in line
    left = Run(path)
    assert "non_finite_weights" in [event.name for event in left.events]
    assert left.status == "interrupted (DivergedError)"
    assert "is inf" in refused("fit", path)


def has_rows(store):
    """Whether a store that another process is writing to has got that far."""
    try:
        return len(Run(store).distance) > 0
    except StoreError:
        return False


def test_interrupting_leaves_readable_stores(tmp_path):
    """Ctrl-C while the demo trains."""
    command = [sys.executable, "-m", "ultraslow", "demo", "--out", str(tmp_path)]
    # a shell ignores it in what it runs in the background, and so would the demo
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    store = tmp_path / "sb-0.zarr"
    while not has_rows(store):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert str(tmp_path) in errors
    left = Run(store)
    assert left.status == "interrupted (KeyboardInterrupt)"
    assert len(left.distance) > 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    done = process("demo", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return out, json.loads(done.stdout)


def test_the_demo_matches_the_large_batch_to_the_small_one(demo):
    _, found = demo
    small, (together, large, matched) = found["runs"][:3], found["runs"][3:]
    assert [row["drop_step"] for row in small] == [1200] * 3
    assert large["updates"] == small[0]["updates"] * 16 / 256
    assert large["distance"] < matched["drop_distance"]
    assert matched["drop_distance"] == pytest.approx(together["drop_distance"], rel=0.02)
    assert 500 < matched["drop_step"] < 2400  # a crossing, not the overshoot of the first updates
    assert together["interval"][0] < together["alpha"] < together["interval"][1]
    assert not together["provisional"]
    assert len(found["reference_fit"]["scan"]) >= 5
    for row in (*small, matched):
        assert row["validation_error"] < 0.05


def test_the_demo_writes_stores_and_figures(demo):
    out, found = demo
    for path in found["paths"]:
        assert path.startswith(str(out))
    for name in ("distance", "error"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    left = Run(out / "lb-matched.zarr")
    assert left.status == "complete"
    assert {"loss", "learning_rate", "validation_error", "epoch"} <= set(left.metrics.columns)
    assert len(left.snapshots) > 5
    assert any(name.endswith("running_mean") for name in left.state_dict(left.snapshots[-1]))
