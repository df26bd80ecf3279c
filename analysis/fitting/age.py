"""How old the origin of a curve is, and what is to be expected of the distance from there.

The measure is the memory time of weight decay, τ = (1 − μ)/(ηλ) for SGD with momentum μ, learning rate η and decay λ,
and 1/(ηλ) for AdamW. Three regimes were seen in every run (`docs/what-the-data-say.md`):

- jump: within about 100 updates of w_0 the weights go as far as c, and d² = c² + growth² from there on;
- growth of the norm, until s ≈ τ, or for ever where nothing decays: d changes with s, and no law holds for long;
- steady state, from s = 5τ on: gradients balance decay, d is the same from every origin, and (log t/t₀)^(2/α) is the
  nearest law, to about 1 % up to t = 4τ. Beyond 3τ the distance speeds up again.

The first 20 updates from any origin are ballistic: momentum carries the weights on a straight line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.curve import Curve
from analysis.inputs import is_finite_number
from analysis.serialize import jsonable

STEADY = 5.0  # memory times after which the norm was steady in every run seen
BALLISTIC = 20  # updates
_JUMP = 100  # updates
_SPEEDS_UP = 3.0  # memory times
_FORMULA = "(1 − μ)/(ηλ)"


@dataclass(frozen=True)
class Age:
    """The age of an origin and of a fit range, in memory times τ of weight decay.

    Attributes:
        origins: the update that t counts from; several, where curves are means over origins.
        fit_range: the first and last t, in updates.
        memory: τ in updates, infinite without weight decay; None where the runs do not say.
        unknown: what is missing, where τ is None.
    """

    origins: tuple[int, ...]
    fit_range: tuple[float, float]
    memory: float | None
    unknown: str = ""

    @property
    def window(self) -> str:
        """The fit range in words, such as "t = 100 .. 5000 after update 1000"."""
        after = f" after update {self.origins[0]}" if self.origins[0] else ""
        if len(self.origins) > 1:
            after = f" after each of {len(self.origins)} origins ({', '.join(map(str, self.origins))})"
        return f"t = {self.fit_range[0]:g} .. {self.fit_range[1]:g}{after}"

    def of(self, t: float) -> float:
        """Return a number of updates in memory times: 0 without weight decay, NaN where τ is not known.

        Args:
            t: updates.
        """
        return math.nan if self.memory is None else t / self.memory

    @property
    def origin_age(self) -> float:
        """s/τ of the origin; of several, of the youngest."""
        return self.of(min(self.origins))

    @property
    def steady(self) -> bool:
        """Whether every origin is known to be 5τ old or older."""
        return self.origin_age >= STEADY

    @property
    def expected(self) -> str:
        """What is expected there, in a phrase."""
        if self.memory is None:
            return "not known, as the age is not"
        if math.isinf(self.memory):
            return "no law: nothing decays, and the motion never becomes steady"
        if not self.steady:
            return f"no law: the motion is not steady before s = {STEADY:g}τ"
        return "(log t/t₀)^(2/α) as the nearest law, to about 1 % up to t = 4τ"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of a fit has to know of its age, a sentence each."""
        if self.memory is None or math.isinf(self.memory):
            return ()
        if not self.steady:
            return (self._not_steady(self.memory),)
        bend = _SPEEDS_UP * self.memory
        if self.fit_range[1] <= bend:
            return ()
        return (
            f"Beyond about t = {bend:.4g} = {_SPEEDS_UP:g}τ distances speed up again: no law is expected to hold on "
            "both sides of it.",
        )

    def _not_steady(self, memory: float) -> str:
        origin = min(self.origins)
        old = in_memories(self.origin_age)
        said = f"No law is expected: w_{origin} is {old} old, and the motion is not steady before {STEADY:g}τ"
        if origin == 0 and self.fit_range[1] > max(_JUMP, memory / 2):
            said += " (a jump, growth of the norm and saturation together look like α ≈ 2)"
        steady = math.ceil(STEADY * memory)
        if steady >= origin + self.fit_range[1]:
            return f"{said}, at update {steady}, which these curves do not reach."
        return f"{said}. Measure from update {steady} or later."

    @property
    def short(self) -> str:
        """The age of the origin and of the fit range in words, without τ in updates."""
        if self.memory is None:
            return f"age unknown: {self.unknown}"
        youngest, oldest, start, end = (
            in_memories(self.of(t)) for t in (min(self.origins), max(self.origins), *self.fit_range)
        )
        where = f"w_{self.origins[0]} is {youngest} old"
        if len(self.origins) > 1:
            where = f"{len(self.origins)} origins are {youngest} to {oldest} old"
        return f"{where}, t = {start} .. {end}"

    def __str__(self) -> str:
        if self.memory is None:
            return self.short
        if math.isinf(self.memory):
            return f"{self.short}: without weight decay τ is infinite"
        return f"{self.short}; τ = {_FORMULA} = {self.memory:.4g} updates"

    def to_dict(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        start, end = (self.of(t) for t in self.fit_range)
        found: dict[str, Any] = jsonable(
            {
                "origins": self.origins,
                "memory": self.memory,
                "origin_age": self.origin_age,
                "t_min_age": start,
                "t_max_age": end,
                "steady": self.steady,
                "expected": self.expected,
                "age": str(self),
            }
        )
        return found


def age_of(group: Sequence[Curve], fit_range: tuple[float, float]) -> Age:
    """Return the age of the origin that curves are measured from, by the shortest τ among them.

    Args:
        group: curves of one origin.
        fit_range: the first and last t, in updates.

    Returns:
        The age.
    """
    origins = group[0].origins or (group[0].origin,)
    memory = shortest_memory(group)
    return Age(origins, fit_range, memory, "" if memory is not None else _missing(group[0]))


def memory_time(curve: Curve) -> float | None:
    """Return how long weights under weight decay λ take to balance it: (1 − μ)/(ηλ) updates; 1/(ηλ) for AdamW.

    Momentum μ and decay λ are the run's settings, η is its highest recorded learning rate, or else the setting `lr`.
    Dampening makes it smaller, Nesterov's momentum does not change it.

    Args:
        curve: a curve whose settings are noted.

    Returns:
        Updates, infinite for λ = 0; None where the settings do not say, or another optimizer couples the decay
        otherwise.
    """
    if _missing(curve):
        return None
    decay, momentum = (float(curve.settings.get(name, 0.0)) for name in ("weight_decay", "momentum"))
    if decay == 0:
        return math.inf
    if optimizer_of(curve) == "adamw":
        return 1 / (_rate(curve) * decay)
    return (1 - momentum) / (_rate(curve) * undamped(curve) * decay)


def shortest_memory(group: Sequence[Curve]) -> float | None:
    """Return the shortest memory time among curves (`memory_time`).

    Args:
        group: the curves.

    Returns:
        Updates; None where none is known.
    """
    return min((time for time in map(memory_time, group) if time is not None), default=None)


def _missing(curve: Curve) -> str:
    """Say what is not known of τ; nothing where it is."""
    decay, momentum = curve.settings.get("weight_decay", math.nan), curve.settings.get("momentum", 0.0)
    if not (is_finite_number(decay) and decay >= 0):
        return "no weight decay recorded"
    if decay == 0:
        return ""
    if optimizer_of(curve) not in ("sgd", "adamw"):
        return f"weight decay under {optimizer_of(curve)} has no memory time that is known"
    if not _rate(curve) > 0:
        return "no learning rate recorded"
    if not undamped(curve) > 0:
        return f"the recorded dampening is {curve.settings['dampening']!r}"
    return "" if is_finite_number(momentum) and 0 <= momentum < 1 else f"the recorded momentum is {momentum!r}"


def optimizer_of(curve: Curve) -> str:
    """Return the name of the optimizer that is noted, in lower case; "sgd" where none is.

    Args:
        curve: of a run.
    """
    return str(curve.settings.get("optimizer") or "sgd").lower()


def undamped(curve: Curve) -> float:
    """Return the share of each gradient that SGD's momentum takes up: 1 − dampening, as torch has it.

    Args:
        curve: of a run. Without momentum, dampening does nothing.

    Returns:
        The share; NaN where the setting `dampening` is no number from 0 to 1.
    """
    dampening = curve.settings.get("dampening", 0.0) if curve.settings.get("momentum") else 0.0
    return 1 - float(dampening) if is_finite_number(dampening) and 0 <= dampening <= 1 else math.nan


def _rate(curve: Curve) -> float:
    """Return the highest learning rate recorded, or else the one noted; NaN without either."""
    if curve.run is not None and "learning_rate" in curve.run.metrics:
        highest = float(curve.run.metrics["learning_rate"].max())
        if math.isfinite(highest):
            return highest
    noted = curve.settings.get("lr", math.nan)
    return float(noted) if is_finite_number(noted) else math.nan


def in_memories(age: float) -> str:
    """Return a number of memory times in words, such as "5τ".

    Args:
        age: the number.
    """
    return f"{age:.2g}τ" if age < 99.5 else f"{age:.0f}τ"
