"""`ultraslow train`: its recipes, its switches, and one line for every mistake."""

import subprocess
import sys
from dataclasses import replace
from unittest import mock

import pytest
from rich.progress import Progress

from train import train
from train.configs.recipes import RECIPES, f1_digits
from train.configs.toml import write_recipe
from trajectory import Run
from ultraslow.cli import train as module
from ultraslow.cli.console import ProgressBars, interruptible


def test_mistakes_in_training_are_one_line(tmp_path, refused, record, law):
    nowhere = tmp_path / "x.zarr"
    assert "did you mean f1-mnist?" in refused("train", "f1-mnits", "--out", nowhere)
    assert "batch_size" in refused("train", "f1-digits", "--batch-size", 5000, "--out", nowhere)
    assert "expected a whole number of at least 2" in refused(
        "train", "f1-digits", "--ghost-batch-size", 1, "--out", nowhere
    )
    assert "expected cuda, in one process" in refused("train", "f1-digits", "--cuda-graph", "--out", nowhere)
    assert "gone.zarr" in refused("train", "f1-digits", "--warm-start", tmp_path / "gone.zarr@10", "--out", nowhere)
    assert "expected one of them" in refused("train", "f1-digits", "--resume", "--overwrite", "--out", nowhere)
    assert "leave one out" in refused("train", "f1-digits", "--seeds", "0-1", "--seed", 3, "--out", nowhere)
    assert "expected 2 samples or more" in refused("train", "f1-digits", "--batch-size", 1, "--out", nowhere)
    short = ["--protocol", "published", "--batch-size", 1279]
    assert "makes a batch of one sample" in refused("train", "f1-digits", *short, "--out", nowhere)
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
    missing = refused("train", "alexnet-imagenet", "--data-root", tmp_path, "--out", nowhere)
    assert f"{tmp_path}/imagenet/train is missing" in missing
    assert not nowhere.exists()


def test_the_recipes_are_listed(run, refused):
    lines = run("train", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)
    assert lines[1].endswith(
        "F1 on MNIST: learning rate .1, ÷ 10 at epochs 10, 20 and 30 of 50 (the paper's published code)."
    )
    assert "no recipe is given; expected a TOML file, or one of f1-digits, f1-mnist" in refused("train")
    assert "no recipe is given" in refused("train", "--epochs", 3)


def test_the_help_of_a_recipe_shows_its_own_values(run):
    help_text = " ".join(run("train", "f1-mnist", "--help").stdout.replace("│", " ").split())
    assert "usage: ultraslow train f1-mnist" in help_text
    assert "$ ultraslow train f1-mnist --data-root data" in help_text
    assert "Learning rate at the base batch size, before the first drop. (default: 0.1)" in help_text
    assert "is multiplied by the factor. (default: 10 0.1 20 0.1 30 0.1)" in help_text
    assert "--regime-adaptation, --no-regime-adaptation" in help_text
    assert "(default: 0.05)" in run("train", "--help", "f1-digits").stdout.replace("│", " ")
    assert "$ ultraslow train f1-mnist" in run("train", "--help").stdout


def test_the_bar_shows_distance_loss_and_rate_of_the_newest_update_recorded(tmp_path):
    shown = []
    bar = mock.Mock(show=lambda name, values: shown.append(values))
    run = Run(train(replace(f1_digits(), epochs=1), tmp_path / "run.zarr", receive=module._shown(bar, "run")))
    at = run.metrics.loc[[64, 80], "loss"]
    assert at.notna().all()
    assert shown[0].startswith(f"distance {run.distance[1]:.4g}  ")
    assert any(values.startswith(f"distance {run.distance[64]:.4g}  loss ") for values in shown)
    assert shown[-1] == f"distance {run.distance[80]:.4g}  loss {at[80]:.3g}  rate 0.05"


def test_what_a_bar_shows_stays_until_it_is_shown_anew():
    bars = ProgressBars(Progress(disable=True))
    bars.show("run", "too early")
    bars("run", 1, 10)
    bars.show("run", "distance 3")
    bars("run", 2, 10)
    (task,) = bars._progress.tasks
    assert (task.completed, task.total, task.fields["values"]) == (2, 10, "distance 3")


def test_an_interrupt_names_the_run_once_there_is_one(tmp_path, capsys):
    run = tmp_path / "run.zarr"
    for expected in ("interrupted; nothing was recorded yet", f"is in {run} and can be read; --resume continues it"):
        with pytest.raises(SystemExit) as ended, interruptible(run, resumable=True):
            raise KeyboardInterrupt
        assert ended.value.code == 130
        assert expected in capsys.readouterr().err
        run.mkdir(exist_ok=True)


HELP = """
import sys
from ultraslow.cli.app import main
sys.argv = ["ultraslow", "train", *{arguments}]
try:
    main()
finally:
    print(sorted({{"torch", "pandas", "scipy", "zarr", "sklearn", "PIL", "pooch"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["f1-mnist", "--help"], ["--list"]], ids=" ".join)
def test_help_loads_neither_torch_nor_data(arguments):
    code = HELP.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_switch_of_a_recipe_file_can_be_turned_off(tmp_path, run):
    write_recipe(replace(f1_digits(), epochs=0.1, regime_adaptation=True, augment=True), tmp_path / "recipe.toml")
    store = tmp_path / "run.zarr"
    options = ["--no-regime-adaptation", "--no-augment", "--max-grad-norm", "None", "--out", store]
    done = run("train", *options, tmp_path / "recipe.toml")  # the recipe may stand behind the options
    assert done.returncode == 0, done.stderr
    settings = Run(store).config["settings"]
    assert [settings[name] for name in ("regime_adaptation", "augment", "max_grad_norm")] == [False, False, None]


def test_seeds_are_trained_batched(tmp_path, run, refused):
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


def test_every_switch_of_a_run_reaches_it(tmp_path, run, refused):
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


def test_weights_that_turn_nan_stop_the_run_and_leave_it_readable(tmp_path, refused):
    path = tmp_path / "run.zarr"
    line = refused("train", "f1-digits", "--lr", "1e30", "--max-grad-norm", 0, "--epochs", 4, "--out", path)
    assert "loss is nan at update" in line
    left = Run(path)
    assert "non_finite_weights" in [event.name for event in left.events]
    assert left.status == "interrupted (DivergedError)"
    assert "is nan" in refused("fit", path)
