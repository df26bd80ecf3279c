"""Settings at equal age: which are compared, and the law on their averaged origins."""

from collections.abc import Mapping
from functools import cache

from study.curve_files import LongCurves
from study.laws import Described, describe
from study.markdown import power_of_ten
from study.steady_state import AGES

Study = Mapping[str, LongCurves]
EQUAL_AGE = (0.2, 4.0)
"""A range of t in memory times: past the first tens of updates everywhere, before the exponent's minimum."""


def title(one: LongCurves) -> str:
    """B, η and λ of a setting, and what else is unlike most settings."""
    setting = one.setting
    usual = f"{setting.batch_size}, {setting.learning_rate:g}, {power_of_ten(setting.weight_decay)}"
    momentum = "" if setting.momentum == 0.9 else f"; μ = {setting.momentum:g}"
    optimizer = "; AdamW" if setting.optimizer == "adamw" else ""
    return usual + momentum + optimizer + ("; drawn from all samples" if setting.with_replacement else "")


def grid(study: Study) -> list[LongCurves]:
    """Settings that differ in B, η and λ alone, and have all origins that are averaged, by noise."""
    alike = [one for one in study.values() if one.setting.batch_norm and one.setting.data == "mnist"]
    alike = [one for one in alike if one.setting.label_noise and one.setting.weight_decay]
    alike = [one for one in alike if one.setting.momentum == 0.9 and not one.setting.with_replacement]
    alike = [one for one in alike if one.setting.optimizer == "sgd"]
    whole = [one for one in alike if all(one.at_age(age) in one.origins for age in AGES) and reach(one) >= 20]
    best: dict[tuple[float, ...], LongCurves] = {}
    for one in whole:  # of two runs of one setting, the one with more seeds
        key = (one.setting.batch_size, one.setting.learning_rate, one.setting.weight_decay)
        if key not in best or one.seeds > best[key].seeds:
            best[key] = one
    return sorted(best.values(), key=lambda one: (round(one.setting.noise, 9), one.setting.memory))


def reach(one: LongCurves) -> float:
    """The last t that all averaged origins have, in memory times."""
    return one.averaged(AGES)[0][0][-1] / one.setting.memory


@cache
def on_equal_age(one: LongCurves, low: float, high: float, direction: bool = False) -> Described | None:
    """The law on a range of t in memory times, of distances or of directions, at equal age."""
    memory = one.setting.memory
    return describe(one.averaged(AGES, direction=direction), low * memory, high * memory)
