"""Tables of settings at one noise and one memory time: other momenta, other sampling, another optimizer."""

import numpy as np

from study.curve_files import HIDDEN, LongCurves
from study.equal_age import EQUAL_AGE, Study, grid, on_equal_age
from study.markdown import alpha, number, plus_minus, power_of_ten, table
from study.settings import Setting
from study.steady_state import AGES, at, local_exponent, mean_and_half, norm, rotation


def momenta(study: Study) -> list[str]:
    """Momentum and the way that batches are drawn, at one τ and one way per τ."""
    rows = []
    for one in study.values():
        setting = one.setting
        twin = (setting.batch_size, setting.learning_rate / (1 - setting.momentum), setting.weight_decay)
        if twin[0] not in (16, 128, 512) or not np.allclose(twin[1:], (0.5, 0.002)) or not setting.at_equal_age:
            continue
        cells = [str(setting.batch_size), number(setting.momentum), f"{setting.learning_rate:g}"]
        cells += ["each sample once an epoch" if not setting.with_replacement else "each from all samples"]
        cells += [number(1e4 * setting.noise, 1), *_motion(one)]
        rows.append((setting.batch_size, setting.with_replacement, setting.momentum, cells))
    columns = ("B", "μ", "η", "batches", "10⁴/(B√τ)", *_MOTION)
    return table(columns, [cells for *_, cells in sorted(rows, key=lambda row: row[:3])])


_MOTION = ("α", "α of directions", "exponent at τ", "turned after τ", "after 20 τ", "rotation² over theory's")
_MOTION += ("‖w‖ of hidden layers", "loss")


def _motion(one: LongCurves) -> list[str]:
    """How the weights of a setting move at equal age, by `_MOTION`."""
    memory, directions = one.setting.memory, one.averaged(AGES, direction=True)
    cells = [alpha(on_equal_age(one, *EQUAL_AGE)), alpha(on_equal_age(one, *EQUAL_AGE, direction=True))]
    cells += [plus_minus(*mean_and_half(local_exponent(directions, memory)))]
    cells += [plus_minus(*mean_and_half(at(directions, t * memory))) for t in (1, 20)]
    return [*cells, number(float(rotation(one)[:HIDDEN].mean()), 3), number(norm(one), 1), number(one.loss)]


def optimizers(study: Study) -> list[str]:
    """AdamW beside SGD, at the same batch size and memory time."""
    rows = []
    for one in study.values():
        if one.setting.optimizer != "adamw":
            continue
        for other in (*(other for other in grid(study) if _are_twins(other.setting, one.setting)), one):
            setting = other.setting
            cells = ["AdamW" if setting.optimizer == "adamw" else "SGD", str(setting.batch_size)]
            cells += [f"{setting.learning_rate:g}", power_of_ten(setting.weight_decay), f"{setting.memory:.0f}"]
            rows.append([*cells, number(1e4 * setting.noise, 1), *_motion(other)])
    return table(("optimizer", "B", "η", "λ", "τ", "10⁴/(B√τ)", *_MOTION), rows)


def _are_twins(one: Setting, other: Setting) -> bool:
    """Whether a setting of SGD, at its usual rate, has another one's batch size and memory time."""
    alike = one.batch_size == other.batch_size and round(one.memory) == round(other.memory)
    return alike and one.learning_rate == 0.05
