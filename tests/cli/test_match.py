"""`ultraslow match`, and `plan`, whose file `train` takes."""

import json

import pytest

from trajectory import Run


def test_match(runs, run):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    assert "matched" in run("match", seeds[0], runs / "lb.zarr", "--seeds", *seeds[1:]).stdout
    found = json.loads(run("match", seeds[0], runs / "lb.zarr", "--json").stdout)
    (first, *_) = found["matches"]
    # .9 (log t)² = (log 1001)²: t = exp(log(1001) / √.9) - 1 = 1455
    assert first["status"] == "matched"
    assert first["step"] == pytest.approx(1455, rel=0.06)


def test_a_run_that_has_not_matched_yet_gets_a_forecast(runs, tmp_path, run, record, law):
    early = record(tmp_path / "early.zarr", 0.9 * law(900, seed=5))
    found = json.loads(run("match", runs / "sb-0.zarr", early, "--json").stdout)
    low, high = found["forecast"]["interval"]
    assert found["matches"][0]["status"] in ("armed", "never_reached")
    assert low < 1455 < high  # as in test_match
    assert str(round(found["forecast"]["step"])) in run("match", runs / "sb-0.zarr", early).stdout
    assert "no forecast: " in run("match", runs / "sb-0.zarr", runs / "short.zarr").stdout


def test_match_draws_what_it_says(runs, tmp_path, run, refused):
    for run_, file in (("lb.zarr", "matched.png"), ("short.zarr", "waiting.svg")):
        drawn = ("--plot", tmp_path / file, "--columns", 2)
        assert run("match", runs / "sb-0.zarr", runs / run_, *drawn).returncode == 0
    assert (tmp_path / "matched.png").read_bytes().startswith(b"\x89PNG")
    assert 'width="493.2' in (tmp_path / "waiting.svg").read_text()  # points: 17.4 cm
    assert "from update 50 are unknown" in refused("match", runs / "sb-0.zarr", runs / "lb.zarr", "--origin", 50)


def test_a_plan_becomes_a_recipe_that_trains(runs, tmp_path, run, refused):
    small, large = tmp_path / "small.zarr", tmp_path / "large.zarr"
    settings = ["--epochs", 4, "--drops", 3, 0.1, "--lr", 0.02]
    assert run("train", "f1-digits", *settings, "--out", small).returncode == 0
    recipe = tmp_path / "large.toml"
    found = json.loads(run("plan", small, "--batch-size", 64, "--out", recipe, "--json").stdout)
    # 4 epochs of 80 updates with a drop after 3, in batches of 64: 20 updates an epoch
    assert (found["updates"], found["epochs"], found["drop_epochs"]) == (320, 16, [12])
    assert found["lr"] == pytest.approx(0.04)
    table = run("plan", small, "--batch-size", 64).stdout
    assert "0.04" in table
    assert "320, at most 480 if the match comes late" in table
    lines = recipe.read_text().splitlines()  # which states what the table says at the reference's batch
    assert "lr = 0.02  # at batch 16: × √(64/16), 0.04" in lines
    assert (
        "epochs = 6.0  # at batch 16: at most 480 updates, 1.5 × the reference's, in case the match comes late;"
        " the plan has 320 updates"
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


def test_two_configurations_are_compared_over_their_whole_path(runs, tmp_path, run, refused, record, law):
    seeds = [runs / f"sb-{k}.zarr" for k in range(3)]
    others = [record(tmp_path / f"{k}.zarr", 1.4 * law(900, seed=k)) for k in (11, 12)]
    command = ("match", seeds[0], others[0], "--seeds", *seeds[1:], "--equivalent", "--run-seeds", others[1])
    found = json.loads(run(*command, "--json", "--plot", tmp_path / "apart.svg").stdout)
    assert found["state"] == "apart"
    assert found["interval"][0] < found["deviation"] < found["interval"][1]
    assert 'width="238.1' in (tmp_path / "apart.svg").read_text()  # points: 8.4 cm
    assert "does not travel the path of" in run(*command).stdout
    assert "add --equivalent" in refused("match", seeds[0], others[0], "--run-seeds", others[1])
