"""Momentum as torch's SGD has it: the factors of its diffusion, and what they make of budget and equilibrium."""

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from analysis import budget, equilibrium
from analysis.errors import MotionError, SeedError
from analysis.motion.momentum import Momentum
from trajectory import LogSpaced, Recorder, Run

SGD = [
    {"momentum": 0.0},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"momentum": 0.5, "nesterov": True},
    {"momentum": 0.9, "dampening": 0.5},
]
MOTION = ["distance", "update_norm", "norm"]


def turn(layer, optimizer, updates, generator):
    """Make updates by gradients orthogonal to the weights, of size 1/‖w‖: those of a scale-invariant layer."""
    for _ in range(updates):
        w = layer.weight.detach()
        noise = torch.randn(w.shape, generator=generator)
        layer.weight.grad = (noise - (noise * w).sum() / w.square().sum() * w) / w.norm()
        optimizer.step()


@pytest.mark.parametrize("options", SGD)
def test_the_factors_are_those_of_the_updates_that_one_gradient_makes(options):
    """The first update has no dampening, so the gradient is the second one's."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=1.0, **options)
    places = []
    for k in range(400):
        weight.grad = torch.full((1,), float(k == 1), dtype=torch.float64)
        optimizer.step()
        places.append(-weight.item())
    h = np.diff(places)
    found = Momentum(options["momentum"], options.get("nesterov", False))
    assert found.diffusion == pytest.approx(h.sum() ** 2 / (h**2).sum(), rel=1e-12)
    assert found.neighbours == pytest.approx((h[1:] * h[:-1]).sum() / (h**2).sum(), rel=1e-12)
    plain = (h.sum() * (1 - found.mu)) ** 2 / (1 - found.mu**2)  # Σ h_k² without Nesterov
    assert found.size == pytest.approx((h**2).sum() / plain, rel=1e-12)


def walk(path, options, dimensions=20_000, updates=420, **noted):
    """Record white gradients through torch's SGD."""
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Linear(dimensions, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, **options)
    with Recorder(path, model, optimizer, quantities=MOTION, origins=[50, 200], config=noted or options):
        for _ in range(updates):
            model.weight.grad = torch.randn(1, dimensions, generator=generator)
            optimizer.step()
    return Run(path)


@pytest.mark.parametrize("options", SGD[1:])
def test_white_gradients_diffuse_under_every_momentum(tmp_path, options):
    """Gains fluctuate by √(2/20000) (1 + d²(start)/gain) < 2 % of themselves; correlations by 1/√40000."""
    run = walk(tmp_path / "run.zarr", options)
    found = budget(run, t_min=100)
    np.testing.assert_allclose(found.frame.ratio, 1, atol=5 * 0.02)
    assert found.correlation == pytest.approx(Momentum(found.momentum, found.nesterov).neighbours, abs=5 * 0.005)
    assert found.warnings == ()
    assert found.to_dict()["nesterov"] is options.get("nesterov", False)


def test_a_nesterov_that_is_noted_wrongly_is_seen_and_can_be_given(tmp_path):
    run = walk(tmp_path / "run.zarr", SGD[2], momentum=0.9, nesterov=False)
    wrong = budget(run)
    assert wrong.frame.ratio.mean() == pytest.approx(1 / 1.342, abs=0.08)
    contradiction, seen = wrong.warnings
    assert "the configuration says nesterov = False, the optimizer had True" in contradiction
    assert "with nesterov=True they would give 0.66." in seen
    right = budget(run, nesterov=True)
    np.testing.assert_allclose(right.frame.ratio, 1, atol=5 * 0.02)
    assert right.warnings == (contradiction,)
    assert "(1 + μ)/((1 − μ)(1 + 2μ − 2μ³)) · Σ‖Δw‖²" in repr(right)
    assert "μ = 0.9, of Nesterov, as the runs note" in repr(right)
    with pytest.raises(MotionError, match="nesterov = 'yes': expected True or False"):
        budget(run, nesterov="yes")
    plain = walk(tmp_path / "plain.zarr", SGD[1], momentum=0.9, nesterov=False)
    noted = walk(tmp_path / "noted.zarr", SGD[2], momentum=0.9, nesterov=True)
    with pytest.raises(SeedError, match="nesterov is True and False"):
        budget([plain, noted])
    with pytest.raises(MotionError, match=r"note several values of nesterov \(False, True\)"):
        budget([plain, noted], force=True)


@pytest.mark.parametrize("options", [{"nesterov": True}, {"dampening": 0.5}])
def test_the_balance_of_nesterov_and_of_dampening(tmp_path, options):
    """In 3000 dimensions a norm fluctuates by 1 %; forty memory times are enough for the balance."""
    decay = 0.05 if "nesterov" in options else 0.1
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(3000, 1, bias=False)
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": decay, **options}
    optimizer = torch.optim.SGD(layer.parameters(), **settings)
    with Recorder(tmp_path / "run.zarr", layer, optimizer, quantities=MOTION, config=settings):
        turn(layer, optimizer, 800, generator)
    found = equilibrium(tmp_path / "run.zarr")
    assert found.memory == pytest.approx(20)
    assert found.frame.state.tolist() == ["reached"]
    assert found.frame.ratio[0] == pytest.approx(1, abs=0.02)
    factor = math.sqrt(1.342) if "nesterov" in options else 1.0
    assert found.frame.expected[0] == pytest.approx(factor * math.sqrt(2 * 0.005 / 1.9))


def test_the_balance_of_adamw(tmp_path):
    """Updates of steady length whatever the gradients' scale, so that ‖w‖² goes to ηD/(2λ) in some 1/(ηλ) updates."""
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(3000, 1, bias=False)
    rates = {"lr": 0.01, "weight_decay": 0.5}
    optimizer = torch.optim.AdamW(layer.parameters(), betas=(0.9, 0.99), **rates)
    settings = {**rates, "momentum": 0.9, "optimizer": "AdamW"}
    with torch.no_grad():
        layer.weight.normal_(0, 0.1, generator=generator)  # the balance's length
    with Recorder(tmp_path / "run.zarr", layer, optimizer, quantities=MOTION, config=settings):
        turn(layer, optimizer, 1600, generator)
    found = equilibrium(tmp_path / "run.zarr")
    assert (found.memory, found.age) == (pytest.approx(200), pytest.approx(8))
    assert found.frame.expected[0] == pytest.approx(math.sqrt(2 * 0.005 / 19))
    assert found.frame.ratio[0] == pytest.approx(1, abs=0.02)
    assert found.frame.state.tolist() == ["reached"]


@pytest.mark.parametrize("dampening", [1.0, -1, "half"])
def test_a_dampening_that_is_none_is_refused_in_a_line(tmp_path, dampening):
    settings = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "dampening": dampening}
    run = walk(tmp_path / "run.zarr", {"momentum": 0.9}, dimensions=10, updates=20, **settings)
    with pytest.raises(MotionError, match=r"notes dampening .*; expected a number from 0 on, below 1"):
        equilibrium(run)


def test_parameters_under_an_optimizer_of_their_own_are_named(tmp_path):
    """Correlations of 2400 numbers at each of two origins have a standard error of √(1/4800) = 1.4 %."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(60, 40, bias=False), torch.nn.Linear(40, 60, bias=False))
    optimizers = [
        torch.optim.SGD(model[0].parameters(), lr=0.01),
        torch.optim.SGD(model[1].parameters(), lr=1e-4, momentum=0.9),
    ]
    settings = {"quantities": MOTION, "origins": [50, 80], "config": {"momentum": 0.0}}
    with Recorder(tmp_path / "run.zarr", model, optimizers, **settings):
        for _ in range(100):
            for weight in model.parameters():
                weight.grad = torch.randn(weight.shape)
            for optimizer in optimizers:
                optimizer.step()
    assert budget(tmp_path / "run.zarr").warnings == ()  # the second layer hardly counts in the whole
    (said,) = budget(tmp_path / "run.zarr", per_layer=True).warnings
    assert said.startswith("Of single parameters neighbouring updates have correlation: 1.weight 0.9")


@pytest.mark.parametrize(("kept", "rows"), [(True, None), (False, None), (False, LogSpaced(8))])
def test_a_resumed_run_whose_momentum_began_anew_is_named(tmp_path, kept, rows):
    """Without its momentum of .9 an update is √(1 − .81) as long; R of the window falls by a tenth."""
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Linear(20_000, 1, bias=False)
    options = {"quantities": MOTION, "config": {"momentum": 0.9}} | ({"schedule": rows} if rows else {})
    state = None
    for resume, updates in (({}, 150), ({"resume": "must", "step": 150}, 250)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        if state and kept:
            optimizer.load_state_dict(state)
        lost = pytest.warns(RuntimeWarning, match="kept no state") if resume and not kept else nullcontext()
        with lost, Recorder(tmp_path / "run.zarr", model, optimizer, **options, **resume):
            for _ in range(updates):
                model.weight.grad = torch.randn(1, 20_000, generator=generator)
                optimizer.step()
        state = optimizer.state_dict()
    found = budget(tmp_path / "run.zarr", t_min=100, t_max=240)
    said = [sentence for sentence in found.warnings if "run was resumed after update 150: " in sentence]
    if kept:
        assert said == []
    else:
        assert ("the next update is 0.4" if rows is None else "is not recorded; if it did not, R") in said[0]
    if rows is None:
        # the 14.7 updates' worth of distance that μ^k after the gradients k < 50 before, less 5.3 of path: 10 %
        assert found.frame.ratio[0] == pytest.approx(1.0 if kept else (1 - 0.147) / (1 - 0.053), abs=5 * 0.01)
        later = budget(tmp_path / "run.zarr", t_min=200).warnings
        assert not any("run was resumed after update 150: " in sentence for sentence in later)


def test_an_optimizer_whose_updates_mu_weighs_otherwise_is_named(tmp_path):
    """NAdam's momentum grows from β₁/2 to β₁ over some 20,000 updates, so that R is far below 1 at first."""
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Linear(2000, 1, bias=False)
    optimizer = torch.optim.NAdam(model.parameters(), lr=0.01)
    settings = {"momentum": 0.9, "optimizer": "NAdam"}
    with Recorder(tmp_path / "run.zarr", model, optimizer, quantities=MOTION, config=settings):
        for _ in range(220):
            model.weight.grad = torch.randn(1, 2000, generator=generator)
            optimizer.step()
    found = budget(tmp_path / "run.zarr")
    assert found.frame.ratio[0] < 0.5
    assert found.warnings[-1].startswith("Trained with nadam, whose updates may not be sums of gradients weighted")
