"""Moves of the weights that no update made, and readers that repeat what was seen."""

import numpy as np
import pytest
import torch
from torch import nn
from watched_training import network, sgd, train

from analysis import fit, match
from trajectory import Recorder, Run
from ultraslow.cli import verify as cli


@torch.no_grad()
def clip(model):
    for p in model.parameters():
        p.clamp_(-0.1, 0.1)


def clip_data(model):
    for p in model.parameters():
        p.data = p.data.clamp(-0.1, 0.1)


@pytest.mark.parametrize("move", [clip, clip_data])
def test_weights_that_move_between_updates_are_noticed(tmp_path, move):
    model = network()
    run, said = train(tmp_path / "run.zarr", model, sgd(model), after_step=move, updates=65)
    assert [(event.name, event.details["after"]) for event in run.events] == [
        ("weights_changed", 1),
        ("weights_changed", 65),
    ]
    assert "changed 4 measured parameters (0.weight, 0.bias, 2.weight and 1 more) after update 65;" in said[0]
    assert len(said) == 1


def test_weights_that_move_every_few_updates_are_noticed(tmp_path):
    """As by Lookahead whose inner optimizer was given to the recorder, through `.data`, which no version counts."""
    model = network()
    start = [p.detach().clone() for p in model.parameters()]

    def back_every_fifth(model):
        steps.append(None)
        if len(steps) % 5 == 0:
            for p, q in zip(model.parameters(), start, strict=True):
                p.data.copy_(q)

    steps = []
    run, said = train(tmp_path / "run.zarr", model, sgd(model), after_step=back_every_fifth, updates=64)
    assert ([(event.name, event.details["after"]) for event in run.events], said) == ([("weights_changed", 5)], [])
    assert "after update 5" in run.warnings[0]


def test_a_run_without_updates_says_so(tmp_path):
    model = network()
    recorder = Recorder(tmp_path / "by_hand.zarr", model, sgd(model))
    clip(model)
    with pytest.warns(RuntimeWarning, match="ends without an update, yet something changed 4 measured parameters"):
        recorder.close()
    run = Run(tmp_path / "by_hand.zarr")
    assert (run.status, run.events[0].name) == ("incomplete (updates not counted)", "no_updates")


def test_readers_repeat_what_was_seen(tmp_path, monkeypatch, capsys):
    """A model that moves as A log t, and whose last move is by hand."""
    monkeypatch.chdir(tmp_path)
    model = nn.Linear(3, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer, rng = torch.optim.SGD(model.parameters(), lr=1.0), np.random.default_rng(0)
    recorder = Recorder("run.zarr", model, optimizer)
    for t in range(1, 1501):
        target = [np.log(t / 0.1) * np.exp(1e-3 * rng.normal()), 0.0, 0.0]
        model.weight.grad = model.weight.detach() - torch.tensor([target], dtype=torch.float32)
        optimizer.step()
        if t == 1000:
            recorder.event("lr_drop", lr_from=1.0, lr_to=0.5)
    clip(model)
    with pytest.warns(RuntimeWarning, match="changed 1 measured parameter"):
        recorder.close()
    (sentence,) = Run("run.zarr").warnings
    assert sentence.startswith(
        "update 1500: something that was not counted as an update changed 1 measured parameter"
    )
    assert Run("run.zarr").to_dict()["warnings"] == [sentence]
    assert f"run, {sentence}" in fit("run.zarr").warnings
    matched = match("run.zarr", "run.zarr")
    assert matched.warnings == (f"run, {sentence}",) == tuple(matched.to_dict()["warnings"])
    assert f"! run, {sentence}" in str(matched)
    cli.verify("run.zarr")
    assert f"run.zarr: {sentence} [recorder's warning]" in capsys.readouterr().out
