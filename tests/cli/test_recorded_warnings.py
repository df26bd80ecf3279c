"""What a run's recorder warned of is said again by each command that reads the run."""

import json

import pytest

COMMANDS = [
    ("info", "sb-0"),
    ("verify", "sb-0"),
    ("fit", "sb-0", "sb-1"),
    ("fit", "--per-layer", "sb-0", "sb-1"),
    ("scan", "sb-0", "sb-1"),
    ("compare", "sb-0", "sb-1"),
    ("match", "sb-0", "lb-0", "--seeds", "sb-1"),
    ("match", "sb-0", "lb-0", "--equivalent", "--seeds", "sb-1", "--run-seeds", "lb-1"),
]


@pytest.fixture(scope="module")
def warned(tmp_path_factory, record, law):
    folder = tmp_path_factory.mktemp("warned")
    for k in range(2):
        small, large = (f"the {size} batch's weights were edited, run {k}" for size in ("small", "large"))
        record(folder / f"sb-{k}", law(400, seed=k), drop=300, label="SB 16", warning=small)
        record(folder / f"lb-{k}", 0.9 * law(400, seed=7 + k), batch_size=256, label="LB 256", warning=large)
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_says_what_the_recorders_of_all_its_runs_said(command, warned, run):
    names = [word for word in command if (warned / word).exists()]
    done = run(*(warned / word if word in names else word for word in command))
    assert done.returncode == 0, done.stderr
    for name in names:
        size = "small" if name.startswith("sb") else "large"
        said = [line for line in (done.stdout + done.stderr).splitlines() if f"{size} batch's weights" in line]
        assert sum(f"run {name[-1]}" in line for line in said) == 1, done


def test_the_reference_of_a_match_keeps_what_was_said_of_it(warned, run):
    found = json.loads(run("match", warned / "sb-0", warned / "lb-0", "--json").stdout)
    assert ["small" in sentence for sentence in found["warnings"]] == [True, False]
