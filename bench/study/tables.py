"""The study's tables: each from the packed curves of all settings, by name."""

from collections.abc import Callable, Mapping

import numpy as np

from study.equal_age import EQUAL_AGE, Study, grid, on_equal_age, reach, title
from study.laws import Described, describe
from study.markdown import (
    NONE,
    alpha,
    misfit,
    number,
    percent,
    plus_minus,
    power_of_ten,
    rival,
    table,
)
from study.null import basin
from study.same_noise import momenta, optimizers
from study.steady_state import (
    AGES,
    at,
    confinement,
    local_exponent,
    mean_and_half,
    norm,
    overlap,
    powers,
    rotation,
)

MILLION = ("decay-0", "decay-1e-4", "decay-5e-4", "decay-2e-3")
REFERENCE = "decay-5e-4"
STEADY_ORIGIN = 100_000


def runs(study: Study) -> list[str]:
    """What was trained, and what it cost."""
    rows = []
    for one in study.values():
        setting = one.setting
        data = f"{setting.data}, {'a fifth shuffled' if setting.label_noise else 'clean'}"
        cells = [data, "yes" if setting.batch_norm else "no", title(one)]
        cells += [f"{setting.memory:.0f}" if setting.weight_decay else "∞"]
        cells += [f"{one.seeds} × {setting.updates / 1000:.0f}", number(one.loss)]
        rows.append([*cells, f"{np.median(one.arrays['seconds']):.0f}"])
    columns = ("data, labels", "batch norm", "B, η, λ", "τ", "seeds × thousand updates", "loss", "seconds a run")
    return table(columns, rows)


def start(study: Study) -> list[str]:
    """From the first update: the distance by decade, and the law."""
    rows = []
    for name in MILLION:
        curves = study[name].distance(0)
        found = describe(curves, 100, study[name].setting.updates)
        distances = [number(float(at(curves, t).mean()), 1) for t in (100, 1e3, 1e4, 1e5, 1e6)]
        rivals = [rival(found, law) for law in ("power", "jump + power", "stretched saturation")]
        decay, end = power_of_ten(study[name].setting.weight_decay), _saturated(found, study[name].setting.memory)
        rows.append([decay, *distances, alpha(found), misfit(found), *rivals, end])
    columns = ("λ", "t = 100", "1e3", "1e4", "1e5", "1e6", "α", "misfit; p", "power", "jump + power")
    return table((*columns, "stretched saturation", "its time/τ, β"), rows)


def _saturated(found: Described | None, memory: float) -> str:
    if found is None or np.isinf(memory):
        return NONE
    parameters = found.rivals["stretched saturation"].parameters
    return f"{parameters['tau'] / memory:.2g}, {number(parameters['beta'])}"


def ends(study: Study) -> list[str]:
    """α from the first update against the end of the range, in memory times, for λ = 1e-4."""
    one = study["decay-1e-4"]
    multiples = (0.5, 1, 2, 4, 8, 16, 50)
    rows = []
    for first in (10, 100, 1000):
        found = [describe(one.distance(0), first, multiple * one.setting.memory) for multiple in multiples]
        rows.append([f"t = {first}", *(f"{alpha(at)}, {percent(at.misfit)}" if at else NONE for at in found)])
    return table(["from", *(f"to {multiple:g} τ" for multiple in multiples)], rows)


def steady(study: Study) -> list[str]:
    """From one old origin, over four and a half decades of updates."""
    rows = []
    for name in MILLION:
        one = study[name]
        if not one.setting.weight_decay:
            continue
        found = describe(one.distance(STEADY_ORIGIN), 30, one.setting.updates - STEADY_ORIGIN)
        rivals = [rival(found, law) for law in ("power", "jump + power", "log t", "stretched saturation")]
        age = number(one.age(STEADY_ORIGIN), 0)
        rows.append(
            [power_of_ten(one.setting.weight_decay), str(one.seeds), age, alpha(found), misfit(found), *rivals]
        )
    columns = ("λ", "n", "s/τ", "α", "misfit; p", "power", "jump + power", "log t", "stretched saturation")
    return table(columns, rows)


def windows(study: Study) -> list[str]:
    """α against the start and the end of the range, λ = 5e-4, from the old origin."""
    curves = study[REFERENCE].distance(STEADY_ORIGIN)
    ends = (1e4, 3e4, 1e5, 3e5, 9e5)
    rows = []
    for first in (10, 30, 100, 300, 1000, 3000, 10_000):
        cells = []
        for end in ends:
            found = describe(curves, first, end) if end >= 10 * first else None
            cells.append(f"{alpha(found)}, {percent(found.misfit)}" if found else NONE)
        rows.append([f"{first / study[REFERENCE].setting.memory:.2g}", f"{first:.0f}", *cells])
    ends_in_memories = [f"to {end:.0e} = {end / study[REFERENCE].setting.memory:.3g} τ" for end in ends]
    return table(["from t/τ", "t", *(end.replace("e+0", "e") for end in ends_in_memories)], rows)


def origins(study: Study) -> list[str]:
    """The distance from origins of different age over that from 40 τ, after τ/10, τ and 10 τ."""
    ages = (0.5, 1, 2.5, 5, 10, 20, 30)
    rows = []
    for name in ("decay-1e-4", REFERENCE, "decay-2e-3"):
        one = study[name]
        for multiple in (0.1, 1, 10):
            t = multiple * one.setting.memory
            last = at(one.distance(one.at_age(40)), t)
            if np.isnan(last).any():
                continue
            ratios = [at(one.distance(one.at_age(age)), t) / last for age in ages]
            cells = [plus_minus(*mean_and_half(ratio)) if np.isfinite(ratio).all() else NONE for ratio in ratios]
            rows.append([power_of_ten(one.setting.weight_decay), f"{multiple:g} τ", *cells])
    return table(["λ", "t", *(f"s = {age:g} τ" for age in ages)], rows)


def exponents(study: Study) -> list[str]:
    """The local exponent d log d/d log t at equal age."""
    multiples = (0.03, 0.1, 0.3, 1, 3, 10, 25)
    rows = []
    for one in grid(study):
        curves = one.averaged(AGES)
        cells = []
        for multiple in multiples:
            found = local_exponent(curves, multiple * one.setting.memory)
            cells.append(NONE if np.isnan(found).any() else number(float(found.mean()), 3))
        rows.append([number(1e4 * one.setting.noise, 1), title(one), f"{one.setting.memory:.0f}", *cells])
    return table(["10⁴/(B√τ)", "B, η, λ", "τ", *(f"t = {multiple:g} τ" for multiple in multiples)], rows)


def noise(study: Study) -> list[str]:
    """What the noise sets: α, exponents, rotation, at equal age."""
    rows, measured = [], []
    alike = grid(study)
    for one in alike:
        memory = one.setting.memory
        directions = one.averaged(AGES, direction=True)
        found, turned = on_equal_age(one, *EQUAL_AGE), on_equal_age(one, *EQUAL_AGE, direction=True)
        wide = on_equal_age(one, 0.05, 40) if reach(one) >= 40 else None
        values = [float(at(directions, t * memory).mean()) for t in (1, 20)]
        exponent = float(local_exponent(directions, memory).mean())
        measured.append([turned.alpha if turned else np.nan, exponent, *values])
        cells = [alpha(found), misfit(found), rival(found, "power"), rival(found, "jump + power"), alpha(turned)]
        cells += [f"{alpha(wide)}, {percent(wide.misfit)}" if wide else NONE]
        cells += [number(exponent, 3), *map(number, values)]
        rows.append([number(1e4 * one.setting.noise, 1), title(one), f"{memory:.0f}", *cells])
    known = [[getattr(one.setting, name) for one in alike] for name in ("noise", "memory")]
    found = [powers(known, column) for column in zip(*measured, strict=True)]
    for k, label in enumerate(("power of 1/(B√τ)", "power of τ")):
        cells = [plus_minus(*by_predictor[k]) for by_predictor in found]
        rows.append([f"**{label}**", *[""] * 6, cells[0], "", *cells[1:]])
    columns = ["10⁴/(B√τ)", "B, η, λ", "τ", "α", "misfit; p", "power", "jump + power", "α of directions"]
    return table([*columns, "α on .05 τ … 40 τ", "exponent at τ", "turned after τ", "after 20 τ"], rows)


def rates(study: Study) -> list[str]:
    """Powers of rate and batch size in the distance from w_0, over the settings of the grid."""
    alike = grid(study)
    known = [[getattr(one.setting, name) for one in alike] for name in ("learning_rate", "batch_size")]
    rows = []
    for t in (10, 100, 300):
        by_rate, by_batch = powers(known, [float(at(one.distance(0), t).mean()) for one in alike])
        rows.append([f"‖w_t − w_0‖, t = {t}", plus_minus(*by_rate), plus_minus(*by_batch), NONE])
    known.append([one.setting.weight_decay for one in alike])
    by_rate, by_batch, by_decay = powers(known, [norm(one) for one in alike])
    rows.append(["‖w‖ of hidden layers, steady", *(plus_minus(*power) for power in (by_rate, by_batch, by_decay))])
    return table(["", "power of η", "power of B", "power of λ"], rows)


def layers(study: Study) -> list[str]:
    """α by layer and of directions, at equal age, of three noises."""
    rows = []
    for one in grid(study):
        if one.setting.learning_rate != 0.05 or round(one.setting.memory) != 1000:
            continue
        low, high = (share * one.setting.memory for share in EQUAL_AGE)
        cells = [alpha(describe(one.averaged(AGES, group=group), low, high)) for group in range(4)]
        rows.append([title(one), alpha(on_equal_age(one, *EQUAL_AGE)), *cells])
    return table(["B, η, λ", "all weights", "layer 1", "layer 2", "layer 3", "output"], rows)


def equilibrium(study: Study) -> list[str]:
    """Rotation and norm in the steady state, and what is left of a direction."""
    rows = []
    for one in grid(study):
        angles = rotation(one)
        directions = one.averaged(AGES, direction=True)
        left = [number(overlap(directions, t * one.setting.memory)) for t in (1, 4, 20)]
        left += [number(confinement(one, t * one.setting.memory), 3) for t in (0.1, 1, 10)]
        cells = [", ".join(number(float(a), 3) for a in angles[:3]), number(float(angles[3])), number(norm(one), 1)]
        rows.append([number(1e4 * one.setting.noise, 1), title(one), *cells, *left])
    columns = ("10⁴/(B√τ)", "B, η, λ", "rotation² / (2ηλ/(1+μ)), hidden layers", "output", "‖w‖ of hidden layers")
    return table((*columns, "cosine after τ", "4 τ", "20 τ", "R after .1 τ", "τ", "10 τ"), rows)


def endless(study: Study) -> list[str]:
    """Without weight decay: local exponents, loss and gradient by decade from the first update."""
    names = [name for name, one in study.items() if not one.setting.weight_decay]
    rows = []
    for name in names:
        one = study[name]
        curves = one.distance(0)
        cells = [number(float(local_exponent(curves, t).mean()), 3) for t in (300, 3e3, 3e4, 1.5e5)]
        late = one.arrays["t"] > one.setting.updates / 10
        gradient = float(one.arrays["gradient"][:, late].mean())
        found = describe(curves, 1000, one.setting.updates)
        data = f"{one.setting.data}, {'a fifth shuffled' if one.setting.label_noise else 'clean'}"
        norm_state = "yes" if one.setting.batch_norm else "no"
        laws = [alpha(found), misfit(found), rival(found, "power"), rival(found, "jump + power")]
        rows.append([data, norm_state, number(one.loss, 3), f"{gradient:.1g}", *cells, *laws])
    columns = ("data, labels", "batch norm", "loss", "gradient²", "exponent at t = 300", "3e3", "3e4", "1.5e5")
    return table((*columns, "α from t = 1000", "misfit; p", "power", "jump + power"), rows)


def others(study: Study) -> list[str]:
    """Other data, labels and no batch norm, in the steady state."""
    rows = []
    for one in study.values():
        setting = one.setting
        usual = (
            setting.batch_norm and setting.data == "mnist" and setting.label_noise
        )  # the grid, and two more tables
        if usual or not setting.weight_decay:
            continue
        ages = [age for age in (5, 10, *AGES) if one.at_age(age) in one.origins]
        ages = [age for age in ages if age + EQUAL_AGE[1] <= setting.updates / setting.memory]
        ages = ages[-len(AGES) :]
        curves = one.averaged(ages)
        low, high = (share * setting.memory for share in EQUAL_AGE)
        found = describe(curves, low, high)
        wide = describe(curves, 0.05 * setting.memory, curves[0][0][-1])
        cells = [f"{setting.data}, {'a fifth shuffled' if setting.label_noise else 'clean'}"]
        cells += ["yes" if setting.batch_norm else "no", title(one), str(one.seeds), number(one.loss, 3)]
        cells += [f"{ages[0]:g} … {ages[-1]:g}", alpha(found), misfit(found), rival(found, "power")]
        exponent = local_exponent(curves, setting.memory)
        cells += [
            f"{alpha(wide)}, {percent(wide.misfit)}" if wide else "no growth",
            number(float(exponent.mean()), 3),
        ]
        rows.append(cells)
    columns = ("data, labels", "batch norm", "B, η, λ", "n", "loss", "s/τ", "α", "misfit; p", "power")
    return table((*columns, "α from .05 τ to the end", "exponent at τ"), rows)


def null(study: Study) -> list[str]:
    """The law in a quadratic basin, simulated."""
    del study
    rows = []
    for m in (0, 1, 2):
        found = describe(basin(m), 10, 1e6)
        rivals = [rival(found, law) for law in ("power", "jump + power", "log t")]
        rows.append([f"(log τ)^{m}", number(4 / (m + 1)), alpha(found), misfit(found), *rivals])
    return table(["density of log τ", "α = 4/(m+1)", "α fitted", "misfit; p", "power", "jump + power", "log t"], rows)


TABLES: Mapping[str, Callable[[Study], list[str]]] = {
    one.__name__: one
    for one in (
        runs,
        start,
        ends,
        steady,
        windows,
        origins,
        exponents,
        noise,
        rates,
        layers,
        equilibrium,
        endless,
        others,
        momenta,
        optimizers,
        null,
    )
}
