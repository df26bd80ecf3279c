"""Sweep files: the runs that one stands for, in which order, and one line for every mistake."""

from dataclasses import replace
from pathlib import Path

import pytest

from train.configs.recipes import f1_digits, f1_mnist
from train.configs.toml import write_recipe
from train.errors import ConfigError
from train.sweeps.spec import read_sweep, seed_list

ROOT = Path(__file__).parents[3]
SPEC = """
out = "runs"
recipes = ["f1-digits", "f1-mnist"]
batch_sizes = [64, 256]
seeds = "0-1"

[settings]
epochs = 2
drops = [[1, 0.1]]
max_grad_norm = 0

[methods.matched]
recipes = ["f1-digits"]
batch_sizes = [256]
lr_scaling = "sqrt"
match = "SB"

[methods.SB]
batch_sizes = [16]

[methods."+GBN"]
seeds = [0]
lr_scaling = "sqrt"
ghost_batch_size = 16
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "spec.toml"
        path.write_text(text)
        return read_sweep(path)

    return read


def test_a_sweep_is_the_product_of_its_axes(read):
    runs = {run.path: run.config for run in read(SPEC).runs}
    digits = [
        f"runs/f1-digits-{name}.zarr" for name in ("sb-16-seed0", "sb-16-seed1", "gbn-64-seed0", "gbn-256-seed0")
    ]
    mnist = [path.replace("digits", "mnist") for path in digits]
    assert set(runs) == {*digits, *mnist, *(f"runs/f1-digits-matched-256-seed{k}.zarr" for k in (0, 1))}
    settings = {"epochs": 2, "drops": ((1, 0.1),), "max_grad_norm": None}
    assert runs[digits[1]] == replace(f1_digits(), **settings, seed=1, label="SB 16")
    adapted = {"batch_size": 256, "lr_scaling": "sqrt", "ghost_batch_size": 16, "label": "+GBN 256"}
    assert runs[mnist[3]] == replace(f1_mnist(), **settings, **adapted)
    assert runs["runs/f1-digits-matched-256-seed1.zarr"].match == tuple(digits[:2])


def test_references_come_before_what_is_matched_to_them_and_first_seeds_first(read):
    sweep = read(SPEC)
    names = [run.path.removeprefix("runs/f1-").removesuffix(".zarr") for run in sweep.runs]
    assert names[:3] == ["digits-sb-16-seed0", "digits-sb-16-seed1", "digits-matched-256-seed0"]
    assert names.index("mnist-gbn-256-seed0") < names.index("digits-matched-256-seed1")
    assert [run.path for run in sweep.references(sweep.runs[2])] == [run.path for run in sweep.runs[:2]]
    assert sweep.references(sweep.runs[0]) == []


def test_a_match_takes_a_method_with_its_batch_or_stores(read):
    spec = SPEC.replace('match = "SB"', 'match = ["+GBN 64", "elsewhere/a.zarr"]')
    (matched,) = (run for run in read(spec).runs if run.path.endswith("matched-256-seed0.zarr"))
    assert matched.config.match == ("runs/f1-digits-gbn-64-seed0.zarr", "elsewhere/a.zarr")


def test_a_warm_start_is_a_run_for_each_start_of_the_same_seed(read):
    spec = SPEC.replace('match = "SB"', 'warm_start = ["SB@0epochs", "SB@3", "elsewhere/a.zarr"]')
    warm = {run.config.label: run for run in read(spec).runs if run.path.startswith("runs/f1-digits-matched")}
    assert list(warm) == [f"matched 256 {start}" for start in ("SB@0epochs", "SB@3", "elsewhere/a.zarr")]
    small = "runs/f1-digits-sb-16-seed1.zarr"
    starts = [run.config.warm_start for run in warm.values()]
    assert starts == [f"{small}@0epochs", f"{small}@3", "elsewhere/a.zarr"]
    sweep = read(spec)
    assert [run.path for run in sweep.references(warm["matched 256 SB@3"])] == [small]
    (alone,) = (
        run.config
        for run in read(SPEC.replace('match = "SB"', 'warm_start = "SB"')).runs
        if run.path == "runs/f1-digits-matched-256-seed0.zarr"
    )
    assert (alone.label, alone.warm_start) == ("matched 256", small.replace("seed1", "seed0"))


def test_a_recipe_file_and_its_own_batch_size(read, tmp_path):
    write_recipe(replace(f1_digits(), recipe="mine", batch_size=32), tmp_path / "mine.toml")
    (run,) = read(f'out = "s3://bucket/"\nrecipes = ["{tmp_path}/mine.toml"]\n[methods.A]').runs
    assert (run.path, run.config.batch_size) == ("s3://bucket/mine-a-32-seed0.zarr", 32)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("seeds", "seed", "no key of a sweep is named 'seed'; known are .*; did you mean seeds?"),
        ('out = "runs"', "", "the key 'out' is missing"),
        ('out = "runs"', "out = 3", "out is 3; expected a folder"),
        ("f1-mnist", "f1-minst", "did you mean f1-mnist?"),
        ("epochs = 2", "epoch = 2", "no field is named 'epoch'.*did you mean epochs?"),
        ("epochs = 2", "batch_size = 2", "no field is named 'batch_size'"),
        ("epochs = 2", "epochs = 'two'", "methods.matched: epochs is 'two'; expected a number"),
        ("ghost_batch_size = 16", "ghost_batch = 16", r"named 'ghost_batch'.*did you mean ghost_batch_size?"),
        ('"sqrt"', '"square"', "no lr_scaling is named 'square'; known are none, sqrt, linear; did you mean"),
        ('match = "SB"', 'match = "BS 16"', "no method to match is named 'BS 16'.*did you mean SB 16?"),
        ('match = "SB"', 'match = "+GBN"', r"known are matched 256, .*\+GBN 64, \+GBN 256"),
        ('match = "SB"', "match = 16", "match is 16; expected the name of a method"),
        ('match = "SB"', 'match = "matched"', "matched 256 is matched to itself"),
        (
            'match = "SB"',
            'warm_start = "BS@3"',
            "no method to start from is named 'BS'; known are matched 256, matched, SB 16, SB",
        ),
        ('match = "SB"', "warm_start = 3", "warm_start is 3; expected the name of a method"),
        ('match = "SB"', 'warm_start = "matched"', "matched 256 needs itself; expected another"),
        ('match = "SB"', 'seeds = [5]\nwarm_start = "SB"', "warm_start is 'SB': SB has no run of seed 5"),
        ('"0-1"', '"0-"', "seeds is '0-'; expected different whole numbers"),
        ('"0-1"', "[0, 0]", "seeds is .*; expected different whole numbers"),
        ("[64, 256]", "[64, '256']", "batch_sizes is .*; expected a list of whole numbers"),
        ("[64, 256]", "[64, 64]", "two of its runs would be written to runs/f1-digits-gbn-64-seed0.zarr"),
        ("[methods.SB]", '[methods."(GBN)"]\nbatch_sizes = [64]\n[methods.SB]', "two of its runs would be written"),
        ("[settings]", "settings = 1\n[other]", "no key of a sweep is named 'other'"),
        ("seeds = ", "seeds: ", "not a sweep"),
    ],
)
def test_a_mistake_is_one_line(read, old, new, told):
    assert old in SPEC
    with pytest.raises(ConfigError, match=told) as caught:
        read(SPEC.replace(old, new, 1))
    assert "spec.toml: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_reproduction_is_a_sweep():
    sweep = read_sweep(ROOT / "docs" / "reproduction.toml")
    methods = {run.config.method for run in sweep.runs}
    paper = {"SB 128", "LB 4096", "LB 4096 +LR", "LB 4096 +LR +GBN", "LB 1024 +LR +GBN +RA"}
    assert paper | {"LB 1024 +LR +RA", "LB 4096 +noise"} <= methods
    assert {run.config.seed for run in sweep.runs} == {0, 1, 2}


def test_keskars_large_batches_start_from_each_epoch_of_a_small_one():
    sweep = read_sweep(ROOT / "docs" / "keskar.toml")
    warm = [run for run in sweep.runs if run.config.warm_start]
    assert {run.config.batch_size for run in warm} == {6000}
    assert all(sweep.references(run)[0].config.seed == run.config.seed for run in warm)
    assert {run.config.optimizer for run in sweep.runs} == {"adam"}


def test_keskars_convolutional_network_has_a_tenth_of_the_data_as_large_batch():
    sweep = read_sweep(ROOT / "docs" / "keskar-c1.toml")
    assert {run.config.batch_size for run in sweep.runs} == {256, 50_000 // 10}
    updates = {
        run.config.label: run.config.schedule(50_000).updates
        for path in ("keskar-c1.toml", "c1.toml")
        for run in read_sweep(ROOT / "docs" / path).runs
    }
    assert updates["SB short 256"] == updates["LB 5000"]
    assert updates["SB short 32"] == updates["LB 512"]


def test_a_sweep_without_a_method_is_refused(tmp_path):
    (tmp_path / "sweep.toml").write_text('out = "runs"\nrecipes = ["f1-digits"]\n[methods]\n')
    with pytest.raises(ConfigError, match="it has no method; expected a table for each"):
        read_sweep(tmp_path / "sweep.toml")


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (3,)), ("0-4", (0, 1, 2, 3, 4)), ("0, 2,5-6", (0, 2, 5, 6)), ([7, 1], (7, 1))]
)
def test_seeds_are_a_list_or_ranges(text, seeds):
    assert seed_list(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "4-0", "-1", "0-", "0-2,1", "0-99999999999", "1" * 5000, [], [True], [0.5]]
)
def test_what_is_no_list_of_seeds_is_refused(text):
    with pytest.raises(ConfigError, match="expected"):
        seed_list(text)
