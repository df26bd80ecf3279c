"""An interrupt at any moment of what a recorder does: rows, events and warnings are those of a run without one."""

import random
import warnings

import numpy as np
import pytest
import torch
from moments import Interrupt
from torch import nn

from trajectory import Every, Recorder, Run, verify

MOMENTS = 300  # of each situation that the slow proof takes, evenly spaced


class Training:
    """Two weights: the first one is t after t updates, and the second one moves likewise while it is trained."""

    def __init__(self, path, interrupt, *, frozen=False, by_hand=False):
        self.path, self.interrupt, self.truth, self.first = path, interrupt, {}, {}
        self.model = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(2)))
        for p in self.model.parameters():
            p.data.zero_()
        self.model[1].weight.requires_grad_(not frozen)
        self.optimizer, self.act = (None, self.update_by_hand) if by_hand else (self.sgd(), self.update)
        self.record()

    def record(self, **options):
        options = {"quantities": ["distance", "norm"], "snapshots": Every(16)} | options
        self.recorder = Recorder(self.path, self.model, self.optimizer, **options)

    def sgd(self):
        return torch.optim.SGD(self.model.parameters(), lr=1.0)

    def update(self):
        for p in self.model.parameters():
            p.grad = -torch.ones_like(p) if p.requires_grad else None
        self.optimizer.step()

    def update_by_hand(self):
        with torch.no_grad():
            for p in self.model.parameters():
                p += 1
        self.recorder.update(learning_rate=1.0)

    def watched(self, act, *, again=True):
        """Do something that may be interrupted, and once more if it is not to be left at that."""
        try:
            with self.interrupt:
                act()
        except KeyboardInterrupt:
            if again:
                act()

    def train(self, updates, *, watched=False):
        """Make updates, and note each one's row."""
        for _ in range(updates):
            if watched:
                self.watched(self.act, again=False)
            else:
                self.act()
            norm = sum(p.item() ** 2 for p in self.model.parameters()) ** 0.5
            self.truth.setdefault(self.recorder.step, norm)  # an interrupt may have come before the update
            self.first.setdefault(self.recorder.step, self.model[0].weight.item())


def steps(path, interrupt):
    training = Training(path, interrupt)
    training.train(62)
    training.train(4, watched=True)
    return training


def unfrozen(path, interrupt):
    training = Training(path, interrupt, frozen=True)
    training.train(62)
    training.model[1].weight.requires_grad_(True)
    training.train(3, watched=True)
    return training


def replaced(path, interrupt):
    training = Training(path, interrupt)
    training.train(63)
    fresh = nn.Linear(1, 1, bias=False)
    fresh.load_state_dict(training.model[1].state_dict())
    training.model[1] = fresh
    training.optimizer.param_groups[0]["params"] = list(training.model.parameters())
    training.train(2, watched=True)
    training.truth[64] = (64**2 + 63**2) ** 0.5  # it is noticed after this update, once in a block
    return training


def lost(path, interrupt):
    """A weight that no optimizer holds any more, and that gets another type."""
    training = Training(path, interrupt)
    training.train(63)
    training.optimizer.param_groups[0]["params"].pop()
    training.model[1].double()
    training.train(2, watched=True)
    return training


def moved(path, interrupt):
    training = Training(path, interrupt)
    training.train(64)
    with torch.no_grad():
        training.model[1].weight += 1
    training.train(1, watched=True)
    training.train(62)
    training.train(2, watched=True)
    return training


def followed(path, interrupt):
    training = Training(path, interrupt)
    training.train(5)
    training.optimizer = training.sgd()
    training.watched(lambda: training.recorder.follow(training.optimizer))
    training.train(2)
    return training


def by_hand(path, interrupt):
    training = Training(path, interrupt, by_hand=True)
    training.train(62)
    training.train(4, watched=True)
    return training


def resumed(path, interrupt):
    training = Training(path, interrupt)
    training.train(5)
    state = training.recorder.state_dict()
    training.recorder.close()
    training.record(resume="must")
    training.watched(lambda: training.recorder.load_state_dict(state))
    training.train(2)
    return training


def begun(path, interrupt):
    training = Training(path, interrupt)
    training.recorder.close()
    training.watched(lambda: training.record(overwrite=True))
    training.train(2)
    return training


def closed(path, interrupt):
    training = Training(path, interrupt)
    training.train(70)
    with torch.no_grad():
        training.model[1].weight += 1
    training.watched(training.recorder.close)
    return training


SITUATIONS = [steps, unfrozen, replaced, lost, moved, followed, by_hand, resumed, begun, closed]


def recorded(situation, path, n):
    """Return what was recorded with an interrupt at the n-th moment, none for 0, and the moments gone through."""
    interrupt = Interrupt(n)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        training = situation(path, interrupt)
        if situation is not closed:
            training.train(3)
        training.recorder.close()
    run = Run(path)
    assert (run.status, verify(path)) == ("complete", [])
    assert list(run.distance.index) == list(training.truth)
    np.testing.assert_allclose(run.distance, list(training.truth.values()), rtol=1e-6)
    assert training.optimizer is None or len(run.distance) == training.model[0].weight.item()
    for step in run.snapshots[1:]:
        assert run.state_dict(step)["0.weight"].item() == training.first[step]
    events = sorted((event.name, event.step, str(event.details)) for event in run.events)
    return events, {str(warning.message).split(": ", 1)[1] for warning in said}, interrupt


@pytest.fixture(scope="module", params=SITUATIONS, ids=lambda situation: situation.__name__)
def uninterrupted(request, tmp_path_factory):
    """A situation, what is recorded of it without an interrupt, and the number of moments in it."""
    path = tmp_path_factory.mktemp("runs") / "whole.zarr"
    return request.param, *recorded(request.param, path, 0)


def check(uninterrupted, path, n):
    situation, events, said, _ = uninterrupted
    found, told, interrupt = recorded(situation, path, n)
    assert (found, told) == (events, said), interrupt.where


def test_an_interrupt_loses_no_row_and_no_report(uninterrupted, tmp_path):
    check(uninterrupted, tmp_path / "run.zarr", random.Random(0).randint(1, uninterrupted[-1].seen))


@pytest.mark.slow
def test_an_interrupt_at_many_moments_loses_no_row_and_no_report(uninterrupted, tmp_path):
    for n in range(1, uninterrupted[-1].seen + 1, 1 + uninterrupted[-1].seen // MOMENTS):
        check(uninterrupted, tmp_path / f"{n}.zarr", n)
