"""`plan`: the regime a large batch should use, from the small batch's runs.

Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), sections 4 and 5: learning rate × √(B/B₀), batch normalization over
ghost batches of B₀, and as many updates as the small batch makes, so that every epoch count is × B/B₀. An update then
diffuses the weights as far as one of the small batch does, so the large batch should reach the distances of the small
batch's drops after as many updates.

Adam and AdamW divide an update by the size of the gradient, which falls as 1/√B where noise dominates it:
their update diffuses as far at the same learning rate, with ε × √(B₀/B). The square root rule for as many epochs
(`ultraslow.large_batch.adam_scaling`), with fewer updates, is given beside it.
"""

from dataclasses import asdict, dataclass, replace
from itertools import accumulate, pairwise
from math import exp, isfinite, log, sqrt
from typing import Any

from analysis.curve import Curve, CurvesLike, Run
from analysis.errors import ReferenceRunError
from analysis.matching.reference import Reference
from analysis.matching.seeds import distance_at
from analysis.reading import curves
from train.configs.choices import AtMatch
from train.configs.config import MATCH_WARMUP_STEPS, TrainConfig
from train.configs.lr_schedule import updates_per_epoch
from train.configs.toml import as_config
from ultraslow.large_batch.adam_scaling import AdamSettings, scaled_adam
from ultraslow.large_batch.errors import SettingError
from ultraslow.large_batch.lr_scaling import sqrt_lr

# A matched run may need more updates than regime adaptation: so much more, and it ends.
LONGEST = 1.5
_LOCAL = 2.0  # the exponent at the drop is that of the distance over the last factor 2 in t


@dataclass(frozen=True)
class Plan:
    """The regime that a large batch should use, from a reference with a small batch.

    Examples:
        >>> from dataclasses import replace
        >>> from train import RECIPES, plan, train
        >>> small = replace(RECIPES["f1-digits"](), epochs=0.5, drops=((0.4, 0.1),))
        >>> found = plan(train(small, "small.zarr"), batch_size=64)
        >>> found.table()["learning rate"], found.recipe().method
        ('0.1', 'LB 64 +LR +GBN +RA +match')
    """

    reference: tuple[str, ...]
    """Names of the reference's runs."""
    batch_size: int
    """The large batch, B."""
    base_batch_size: int
    """The reference's batch, B₀."""
    lr: float
    """Learning rate before the first drop: the reference's × √(B/B₀); the reference's own with Adam and AdamW."""
    ghost_batch_size: int
    """Size of the ghost batches: B₀."""
    warmup_steps: int
    """Updates over which the learning rate grows linearly."""
    updates: int
    """Updates in all: as many as the reference makes."""
    epochs: float | None
    """These updates in passes through the training set; None if the reference does not say how large that was."""
    drop_steps: tuple[int, ...]
    """Updates after which the drops are expected."""
    drop_epochs: tuple[float, ...] | None
    """These updates in passes through the training set; None as `epochs`."""
    first_drop: tuple[float, float] | None
    """Updates between which the first drop is expected, 2 standard deviations of the reference's seeds on either
    side; None from one seed."""
    config: TrainConfig | None
    """Configuration of the matched run; None if the reference was not trained by `train`, which stores its own."""
    most_updates: int | None = None
    """Updates that the matched run makes at most, where its match comes late; None as `config`."""
    adam: AdamSettings | None = None
    """Settings of Adam or AdamW: the reference's β, and its ε × √(B₀/B); None for SGD."""
    in_as_many_epochs: AdamSettings | None = None
    """Those of the square root rule, for as many epochs, B₀/B of the updates and the learning rate × √(B/B₀); None
    for SGD, and where the batch is too large for the rule."""
    batch_sizes: tuple[int, ...] = ()
    """Batch size after each drop, where the batch grows in its place; empty where the rate drops."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, fit for JSON."""
        return asdict(self)

    def recipe(self) -> TrainConfig:
        """Return the matched run's configuration.

        Raises:
            ReferenceRunError: if the reference does not hold its own configuration.
        """
        if self.config is None:
            raise ReferenceRunError(
                f"{self.reference[0]}: it was not trained by `ultraslow train`, so that its network and data are not"
                " on record; expected such a run to write a recipe from"
            )
        return self.config

    def comments(self) -> dict[str, str]:
        """Return comments on fields of the recipe whose numbers are not those of the table, by field.

        A recipe states the learning rate and the epochs at the base batch size, the table states them as the run has
        them.
        """
        most = f"at most {self.most_updates} updates, " if self.most_updates else ""
        rate = f"at batch {self.base_batch_size}: × √({self.batch_size}/{self.base_batch_size}), {self.lr:.6g}"
        return {
            "lr": rate if self.adam is None else "the reference's: an update of Adam is as long at every batch size",
            "epochs": f"at batch {self.base_batch_size}: {most}{LONGEST:g} × the reference's, in case the match comes"
            f" late; the plan has {self.updates} updates",
            "drops": "not used: the match decides when the learning rate drops, or the batch grows",
        }

    def table(self) -> dict[str, str]:
        """Return the plan as text, by quantity."""
        drops = [str(step) for step in self.drop_steps]
        if self.first_drop is not None:
            drops[0] += " ({:.0f} to {:.0f})".format(*self.first_drop)
        found = {
            "reference": ", ".join(self.reference),
            "batch size": f"{self.batch_size} (reference: {self.base_batch_size})",
            **({"grows at a match to": ", ".join(map(str, self.batch_sizes))} if self.batch_sizes else {}),
            "learning rate": f"{self.lr:.6g}",
            "warm-up": f"{self.warmup_steps} updates",
            **self._adam_rows(),
            "ghost batch size": str(self.ghost_batch_size),
            "updates": f"{self.updates}"
            + (f", at most {self.most_updates} if the match comes late" if self.most_updates else ""),
            "drops expected at": ", ".join(drops),
        }
        if self.epochs is not None and self.drop_epochs is not None:
            found["epochs"] = f"{self.epochs:.4g}"
            found["drops in epochs"] = ", ".join(f"{epoch:.4g}" for epoch in self.drop_epochs)
        return found

    def _adam_rows(self) -> dict[str, str]:
        if self.adam is None:
            return {}
        kappa, rule = self.batch_size / self.base_batch_size, "none: the batch is too large"
        if self.in_as_many_epochs is not None:
            rule = f"learning rate {self.lr * sqrt(kappa):.6g}, {_told(self.in_as_many_epochs)}"
        return {"Adam": _told(self.adam), "for as many epochs": rule}


def _told(adam: AdamSettings) -> str:
    return f"betas {adam.betas[0]:.6g} {adam.betas[1]:.6g}, eps {adam.eps:.3g}"


def plan(reference: CurvesLike, batch_size: int, *, at_match: AtMatch = "drop") -> Plan:
    """Plan the regime of a large batch from the small batch's runs.

    Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), sections 4 and 5; the module says how.

    Args:
        reference: a run or its path, or a sequence of them: seeds of the small batch, with a learning-rate drop.
        batch_size: samples in an update of the large batch.
        at_match: "drop" the rate, or "grow" the batch by the drop's inverse factor in its place (Smith et al. 2018,
            arXiv 1711.00489), up to the training set; each later phase then has as many fewer updates.

    Returns:
        The plan; print its `table()`, or train its `recipe()`.

    Raises:
        ConfigError: if the batch is beyond the training set.
        ReferenceRunError: if the runs do not hold their batch size, or are no reference.

    Examples:
        >>> from dataclasses import replace
        >>> from train import RECIPES, plan, train
        >>> small = replace(RECIPES["f1-digits"](), epochs=0.5, drops=((0.4, 0.1),))
        >>> found = plan(train(small, "sb.zarr"), batch_size=64)
        >>> found.lr, found.updates, found.ghost_batch_size
        (0.1, 40, 16)
    """
    found, known = curves(reference), Reference.from_runs(reference)
    base, run = known.batch_size, found[0].run
    if base is None or run is None:
        raise ReferenceRunError(
            f"{known.names[0]}: its batch size is not on record; expected Recorder(config={{'batch_size': ...}})"
        )
    config = _matched(run.config, known, [curve.run for curve in found if curve.run], base, batch_size)
    if config is not None and at_match == "grow":
        config = replace(config, at_match=at_match)
    size = run.config.get("train_size")
    sizes = _batch_sizes(known, batch_size, size) if at_match == "grow" else [batch_size] * (1 + len(known.targets))
    steps = _phase_ends(known, sizes)
    published = run.config.get("protocol") == "published"
    epochs = [_epochs(steps[: k + 1], sizes, size, published) for k in range(len(steps))] if size else None
    adam = _adam(run.config)
    rate = known.learning_rate
    return Plan(
        reference=known.names,
        batch_size=batch_size,
        base_batch_size=base,
        lr=sqrt_lr(rate, batch_size, base) if adam is None else rate,
        ghost_batch_size=base,
        warmup_steps=MATCH_WARMUP_STEPS,
        updates=steps[-1],
        epochs=epochs[-1] if epochs else None,
        drop_steps=tuple(steps[:-1]),
        drop_epochs=tuple(epochs[:-1]) if epochs else None,
        first_drop=_first_drop(known, found),
        config=config,
        most_updates=config.schedule(size).updates if config is not None and size else None,
        adam=adam and replace(adam, eps=adam.eps / sqrt(batch_size / base)),
        in_as_many_epochs=adam and _for_as_many_epochs(adam, batch_size, base),
        batch_sizes=tuple(sizes[1:]) if at_match == "grow" else (),
    )


def _batch_sizes(reference: Reference, batch_size: int, train_size: int | None) -> list[int]:
    """The batch size of each phase, where a batch grows by the inverse of each drop as far as the data reach."""
    sizes = [batch_size]
    for ratio in reference.ratios:
        sizes.append(max(sizes[-1], min(round(sizes[-1] / ratio), train_size or round(sizes[-1] / ratio))))
    return sizes


def _phase_ends(reference: Reference, sizes: list[int]) -> list[int]:
    """The updates that end the phases: as many as the reference's, less the factor that the batch has grown by."""
    lengths = (*reference.phase_lengths, reference.last_phase or 0)
    spent = [round(length * sizes[0] / size) for length, size in zip(lengths, sizes, strict=True)]
    return list(accumulate(spent))


def _epochs(ends: list[int], sizes: list[int], train_size: int, keep_short: bool) -> float:
    """Passes through the training set in the phases that end there."""
    spent = [after - before for before, after in pairwise((0, *ends))]
    lengths = [updates_per_epoch(train_size, size, keep_short=keep_short) for size in sizes]
    return sum(n / length for n, length in zip(spent, lengths, strict=False))


def _adam(recorded: dict[str, Any]) -> AdamSettings | None:
    """The settings of Adam or AdamW that a run notes, torch's defaults where it notes none; None for SGD."""
    if str(recorded.get("optimizer", "sgd")).lower() not in ("adam", "adamw"):
        return None
    beta1, beta2 = recorded.get("betas", AdamSettings.betas)
    return AdamSettings(betas=(beta1, beta2), eps=recorded.get("eps", AdamSettings.eps))


def _for_as_many_epochs(adam: AdamSettings, batch_size: int, base: int) -> AdamSettings | None:
    try:
        return scaled_adam("sde", adam, batch_size, base)
    except SettingError:
        return None


def _matched(
    recorded: dict[str, Any], reference: Reference, runs: list[Run], base: int, batch_size: int
) -> TrainConfig | None:
    """The reference's own configuration, changed to a large batch that is matched to it."""
    if "settings" not in recorded:
        return None
    adam, config = _adam(recorded), as_config(recorded["settings"], reference.names[0])
    return replace(
        config,
        betas=config.betas if adam is None else adam.betas,
        eps=config.eps if adam is None else adam.eps / sqrt(batch_size / base),
        beta_scaling="none",
        batch_size=batch_size,
        base_batch_size=base,
        lr=recorded["lr"],
        lr_scaling="sqrt" if adam is None else "none",
        ghost_batch_size=base,
        regime_adaptation=True,
        epochs=LONGEST * recorded["epochs"],
        warmup_steps=None,
        match=tuple(str(run.path) for run in runs),
        seed=0,
        label="",
    )


def _first_drop(reference: Reference, found: list[Curve]) -> tuple[float, float] | None:
    """2 std of the seeds' log distances over the local exponent, in log t, either side of the reference's drop."""
    step, error = reference.drop_steps[0], reference.target_errors[0]
    if not isfinite(error):
        return None
    gains = [log(distance_at(curve, step) / distance_at(curve, step / _LOCAL)) for curve in found]
    exponent = sum(gains) / len(gains) / log(_LOCAL)
    if exponent <= 0:
        return None
    half = 2 * error * sqrt(len(found)) / exponent
    return step * exp(-half), step * exp(half)
