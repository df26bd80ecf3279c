"""Trainings whose model or optimizers change on the way, and what a recorder says of it."""

import warnings

import torch
from torch import nn

from trajectory import Recorder, Run

UPDATES = 100  # more than one block, and not a multiple of one


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def sgd(model):
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)


def backward(model):
    model.zero_grad()
    loss = (model(torch.randn(5, 6)) - 1).square().mean()
    loss.backward()
    return loss


def moved(model, start):
    pairs = zip(model.parameters(), start, strict=True)
    return sum((p.detach().double() - w).square().sum() for p, w in pairs).sqrt().item()


def at_start(model):
    return [p.detach().double().clone() for p in model.parameters()]


def train(path, model, optimizer, change=None, at=50, after_step=None, updates=UPDATES, **options):
    """Record a training, with a change before update at + 1; return the run and the warnings."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Recorder(path, model, optimizer, **options) as recorder:
            for t in range(updates):
                if change and t == at:
                    optimizer = change(model, optimizer, recorder) or optimizer
                backward(model)
                optimizer.step()
                if after_step:
                    after_step(model)
    return Run(path), [str(warning.message) for warning in said]


def check_told(run, said, name, names, step):
    """Check that one warning and one event say what has happened, and that the run repeats it."""
    (event,) = run.events
    assert (event.name, event.details["names"], event.step) == (name, names, step)
    assert said == [f"{run.path}: {event.details['warning']}"]
    assert run.warnings == [f"update {step}: {event.details['warning']}"]
