"""`plan`: the regime a large batch should use, from the small batch's runs.

Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), sections 4 and 5: learning rate × √(B/B₀), batch normalization over
ghost batches of B₀, and as many updates as the small batch makes, so that every epoch count is × B/B₀. An update then
diffuses the weights as far as one of the small batch, so that the distances at its drops are expected after its
updates.
"""

from dataclasses import asdict, dataclass, replace
from math import exp, isfinite, log, sqrt
from typing import Any

from analysis.curve import Curve, CurvesLike, Run, curves
from analysis.errors import ReferenceRunError
from analysis.matching.reference import Reference, distance_at
from train.configs.config import MATCH_WARMUP_STEPS, TrainConfig
from train.configs.lr_schedule import updates_per_epoch
from train.configs.toml import as_config
from ultraslow.large_batch.lr_scaling import sqrt_lr

# A matched run may need more updates than regime adaptation: so much more, and it ends.
LONGEST = 1.5
_LOCAL = 2.0  # the exponent at the drop is that of the distance over the last factor 2 in t


@dataclass(frozen=True)
class Plan:
    """What a large batch should use, held against a reference of batch size `base_batch_size`.

    lr: √-scaled, before the first drop. updates: under regime adaptation, as many as the reference's; epochs:
    what they are in passes through the training set. drop_steps, drop_epochs: where its drops are expected.
    first_drop: the first one's steps at 2 standard deviations of the reference's seeds; None from one seed.
    config: to train the matched run; None if the reference was not trained by `train`, which writes it down.
    Epochs are None where the reference does not say how large its training set was.
    """

    reference: tuple[str, ...]
    batch_size: int
    base_batch_size: int
    lr: float
    ghost_batch_size: int
    warmup_steps: int
    updates: int
    epochs: float | None
    drop_steps: tuple[int, ...]
    drop_epochs: tuple[float, ...] | None
    first_drop: tuple[float, float] | None
    config: TrainConfig | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able fields."""
        return asdict(self)

    def recipe(self) -> TrainConfig:
        """The matched run's configuration. Raises ReferenceRunError if the reference does not hold its own."""
        if self.config is None:
            raise ReferenceRunError(
                f"{self.reference[0]}: it was not trained by `ultraslow train`, so that its network and data are not"
                " on record; expected such a run to write a recipe from"
            )
        return self.config

    def table(self) -> dict[str, str]:
        """The plan as text, by quantity."""
        drops = [str(step) for step in self.drop_steps]
        if self.first_drop is not None:
            drops[0] += " ({:.0f} to {:.0f})".format(*self.first_drop)
        found = {
            "reference": ", ".join(self.reference),
            "batch size": f"{self.batch_size} (reference: {self.base_batch_size})",
            "learning rate": f"{self.lr:.6g}",
            "warm-up": f"{self.warmup_steps} updates",
            "ghost batch size": str(self.ghost_batch_size),
            "updates": str(self.updates),
            "drops expected at": ", ".join(drops),
        }
        if self.epochs is not None and self.drop_epochs is not None:
            found["epochs"] = f"{self.epochs:.4g}"
            found["drops in epochs"] = ", ".join(f"{epoch:.4g}" for epoch in self.drop_epochs)
        return found


def plan(reference: CurvesLike, batch_size: int) -> Plan:
    """A large batch's regime from run(s), or path(s) of them: seeds of the small batch.

    Raises ConfigError if the batch is beyond the training set, and ReferenceRunError if the runs do not tell
    their batch size or are no reference (`Reference.from_runs`).
    """
    found, known = curves(reference), Reference.from_runs(reference)
    base, run = known.batch_size, found[0].run
    if base is None or run is None:
        raise ReferenceRunError(
            f"{known.names[0]}: it does not tell its batch size; expected Recorder(config={{'batch_size': ...}})"
        )
    config = _matched(run.config, known, [curve.run for curve in found if curve.run], base, batch_size)
    updates = known.drop_steps[-1] + (known.last_phase or 0)
    size = run.config.get("train_size")
    per_epoch = updates_per_epoch(size, batch_size) if size else None
    return Plan(
        reference=known.names,
        batch_size=batch_size,
        base_batch_size=base,
        lr=sqrt_lr(known.learning_rate, batch_size, base),
        ghost_batch_size=base,
        warmup_steps=MATCH_WARMUP_STEPS,
        updates=updates,
        epochs=updates / per_epoch if per_epoch else None,
        drop_steps=known.drop_steps,
        drop_epochs=tuple(step / per_epoch for step in known.drop_steps) if per_epoch else None,
        first_drop=_first_drop(known, found),
        config=config,
    )


def _matched(
    facts: dict[str, Any], reference: Reference, runs: list[Run], base: int, batch_size: int
) -> TrainConfig | None:
    """The reference's own configuration, made a large batch that is matched to it."""
    if "settings" not in facts:
        return None
    return replace(
        as_config(facts["settings"], reference.names[0]),
        batch_size=batch_size,
        base_batch_size=base,
        lr=facts["lr"],
        lr_scaling="sqrt",
        ghost_batch_size=base,
        regime_adaptation=True,
        epochs=LONGEST * facts["epochs"],
        warmup_steps=None,
        match=tuple(str(run.path) for run in runs),
        seed=0,
        label="",
    )


def _first_drop(reference: Reference, found: list[Curve]) -> tuple[float, float] | None:
    """2 sd of the seeds' log distances over the local exponent, in log t, either side of the reference's drop."""
    step, error = reference.drop_steps[0], reference.target_errors[0]
    if not isfinite(error):
        return None
    gains = [log(distance_at(curve, step) / distance_at(curve, step / _LOCAL)) for curve in found]
    exponent = sum(gains) / len(gains) / log(_LOCAL)
    if exponent <= 0:
        return None
    half = 2 * error * sqrt(len(found)) / exponent
    return step * exp(-half), step * exp(half)
