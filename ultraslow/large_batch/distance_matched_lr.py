"""`DistanceMatchedLR`: a scheduler that drops the learning rate where the reference had dropped its own."""

from collections.abc import Callable
from math import ceil, exp, inf, nan
from numbers import Integral, Real
from typing import Any, Literal, get_args

from torch import Tensor, distributed
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from analysis.curve import CurvesLike
from analysis.fitting.former_names import accept_former_keywords
from analysis.matching.distance_matcher import TRANSIENT, DistanceMatcher
from analysis.matching.outcome import Match, Status
from analysis.matching.reference import LaterPhases, Reference, as_reference, check_later_phases
from analysis.matching.running_estimate import BANDWIDTHS
from analysis.matching.seeds import check_network
from trajectory import Recorder
from trajectory.recording.rows import Rows
from trajectory.schema.layout import BATCH_GROWTH, LR_DROP
from ultraslow.large_batch.errors import NotMatchedError, SettingError

OnFailure = Literal["keep", "drop", "raise"]


class DistanceMatchedLR(LRScheduler):
    """Drop the learning rate when ‖w_t − w_0‖, or ‖w_t − w_origin‖, reaches the reference's at its drop.

    Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), section 5, propose to adapt a large batch's regime by the
    distance travelled. Call `step()` after every optimizer step, or after every epoch: a drop then waits for the
    epoch's end.

    The scheduler multiplies the rate of every parameter group at a drop and otherwise leaves it alone. Other
    schedulers that multiply, such as a warm-up by LinearLR, can be combined with it; those that set a rate from the
    initial one undo it. The recorder files each drop as the event "lr_drop" and each failure as "match_failed".

    The scheduler compares the rows that the recorder has written, so that nothing waits for the device. A drop
    follows the match by at most one evaluation, W/8 in log t. In a process group of several ranks
    (DistributedDataParallel) every rank has a recorder and a scheduler, and rank 0 decides for all: where a decision
    is due, at most once in W/8 of log t, its match is broadcast.

    Args:
        optimizer: the optimizer whose learning rates drop.
        recorder: the recorder of this run.
        reference: a `Reference`, or a run, a path, or several of them (seeds).
        gamma: the factor of every drop; None for the reference's own ratios.
        bandwidth: width W, in log t, of the window that the distance is averaged over, as for `DistanceMatcher`.
        min_step: the update before which no distance counts.
        later_phases: what the drops after the first follow: the reference's number of "updates" in the phase, since
            the distance barely moves there, or the "distance" travelled since the drop before.
        timeout: updates that a phase may last; None for no limit.
        on_timeout: what to do then: "keep" the rate, "drop" it, or "raise" NotMatchedError.
        already_above: what to do when the run is above the target without having been seen below it.
        relative: compare distances in units of ‖w_0‖, which a network other than the reference's may do.
        origin: measure both runs from this update, after the initial transient; the recorder must have it among its
            origins.
        grow: let the batch grow in place of a drop (Smith, Kindermans, Ying, Le 2018, arXiv 1711.00489). It is called
            with the drop's inverse factor, and returns the batch size before and after. The rate falls by what the
            batch does not grow by, and a phase counts fewer updates by the factor that the batch has grown by.
        extrapolate: continue the law of a reference that ends before its drop. `relative`, `origin` and `extrapolate`
            say how to read a reference given as runs; a `Reference` holds its own.
        last_epoch: as for every torch scheduler.

    Raises:
        SettingError: for a setting out of its range, or a recorder without the reference's origin.
        ReferenceRunError: if the reference has no drop, ends before it, or its seeds disagree.
        DifferentNetworksError: if the recorded model has other parameters than the reference's.
        NotMatchedError: from `step()`, where `on_timeout` or `already_above` is "raise".

    Examples:
        Two loops move one weight a distance of 4 t^¼ and 3.8 t^¼. The first drops its rate after 300 updates; the
        second has travelled as far after 300 · (4 / 3.8)⁴ = 368.

        >>> import torch
        >>> from ultraslow import DistanceMatchedLR, Recorder, Run
        >>> def loop(path, speed, updates, **matching):
        ...     model = torch.nn.Linear(1, 1, bias=False)
        ...     torch.nn.init.zeros_(model.weight)
        ...     optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        ...     with Recorder(path, model, optimizer) as recorder:
        ...         scheduler = DistanceMatchedLR(optimizer, recorder, **matching) if matching else None
        ...         for t in range(1, updates + 1):
        ...             aim = speed * t**0.25
        ...             model.weight.grad = (model.weight.detach() - aim) / optimizer.param_groups[0]["lr"]
        ...             optimizer.step()
        ...             if scheduler:
        ...                 scheduler.step()
        ...             elif t == 300:
        ...                 recorder.event("lr_drop", lr_from=0.1, lr_to=0.01)
        ...     return Run(path)
        >>> small = loop("small.zarr", speed=4.0, updates=400)
        >>> large = loop("large.zarr", speed=3.8, updates=500, reference=small)
        >>> [360 < drop.step < 385 for drop in large.drops]
        [True]
    """

    @accept_former_keywords(window="bandwidth")
    def __init__(
        self,
        optimizer: Optimizer,
        recorder: Recorder,
        reference: Reference | CurvesLike,
        *,
        gamma: float | None = None,
        bandwidth: float | None = None,
        min_step: int = TRANSIENT,
        later_phases: LaterPhases = "updates",
        timeout: int | None = None,
        on_timeout: OnFailure = "keep",
        already_above: OnFailure = "keep",
        relative: bool = False,
        origin: int = 0,
        extrapolate: bool = False,
        grow: Callable[[float], tuple[int, int]] | None = None,
        last_epoch: int = -1,
    ):
        check_later_phases(later_phases)
        _check("recorder", recorder, "the Recorder of this run", isinstance(recorder, Recorder))
        factor = gamma is None or (isinstance(gamma, Real) and 0 < float(gamma) < 1)
        _check("gamma", gamma, "a factor between 0 and 1, or none for the reference's", factor)
        for name, updates in (("min_step", min_step), ("timeout", 0 if timeout is None else timeout)):
            counts = isinstance(updates, Integral) and int(updates) >= 0
            _check(name, updates, "a number of updates, 0 or more", counts)
        for name, choice in (("on_timeout", on_timeout), ("already_above", already_above)):
            _check(name, choice, f"one of {', '.join(get_args(OnFailure))}", choice in get_args(OnFailure))
        _check("grow", grow, "a function of a factor that returns two batch sizes", grow is None or callable(grow))
        if on_timeout != "keep" and timeout is None:
            raise SettingError(f"on_timeout is {on_timeout!r} without a timeout; expected timeout=, in updates")
        self.recorder, self.reference = recorder, as_reference(reference, relative, origin, extrapolate)
        if self.reference.origin not in recorder.origins:
            raise SettingError(
                f"the reference's distances are from update {self.reference.origin}, the recorder measures from"
                f" {recorder.origins}; expected Recorder(..., origins=[{self.reference.origin}])"
            )
        if not self.reference.relative:
            check_network(
                self.reference.parameter_specs,
                self.reference.names[0],
                recorder.parameter_specs,
                "the recorded model",
            )
        self.gamma, self.bandwidth, self.min_step, self.later_phases = gamma, bandwidth, min_step, later_phases
        self.timeout, self.on_timeout, self.already_above = timeout, on_timeout, already_above
        self._unit = recorder.origin_norm if self.reference.relative else 1.0
        self.grow = grow
        self._factor = 1.0  # of all drops so far
        self._growth = 1.0  # of the batch
        self._seen = (recorder.step, nan)  # the newest row: t, distance
        self._begin_phase(0, recorder.step)
        recorder.subscribe(self._receive)
        super().__init__(optimizer, last_epoch)

    @property
    def match(self) -> Match | None:
        """Where the run stands beside the target distance; None in a phase that counts updates."""
        return self._matcher.match if self._matcher else None

    @property
    def last_update(self) -> int | None:
        """The update that ends the run: its last phase is as long as the reference's. None before the last drop."""
        if self._phase < len(self.reference.targets) or self.reference.last_phase is None:
            return None
        return self._phase_start + self._updates_of(self.reference.last_phase)

    def _updates_of(self, phase: int) -> int:
        """Return the updates of a phase of the reference's: fewer where a grown batch keeps the rate high."""
        return max(1, round(phase / self._growth))

    def get_lr(self) -> list[float | Tensor]:
        """Return the groups' rates, multiplied if a drop is due after the updates made so far."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if not self._get_lr_called_within_step:  # a caller who only reads the rates
            return rates
        t = self.recorder.step
        factor = self._decide(t) if t >= self._due else 1.0
        return rates if factor == 1.0 else [rate * factor for rate in rates]

    def _get_closed_form_lr(self) -> list[float | Tensor]:
        """Return the initial rates times the drops made so far, which SequentialLR asks for when it hands over."""
        return [rate * self._factor for rate in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact continuation needs, in plain types; waits for the rows recorded so far."""
        self.recorder.flush()
        mine = ("recorder", "reference", "grow", "_matcher", "_unit")
        state = {key: value for key, value in super().state_dict().items() if key not in mine}
        return state | {"matcher": self._matcher.state_dict() if self._matcher else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict()`, with a recorder that resumes at the same update.

        Args:
            state_dict: what `state_dict()` returned.
        """
        state = dict(state_dict)
        if "window" in state:  # saved by version 0.1
            state["bandwidth"] = state.pop("window")
        matcher = state.pop("matcher")
        super().load_state_dict(state)
        self._matcher = self._new_matcher() if matcher else None
        if self._matcher:
            self._matcher.load_state_dict(matcher)

    def _begin_phase(self, phase: int, t: int) -> None:
        """Begin to wait for drop number `phase`, from 0, after t updates. The next decision is due at `_due`."""
        self._phase, self._phase_start, self._since, self._reported = phase, t, None, ""
        by_distance = phase == 0 or self.later_phases == "distance"
        if phase == len(self.reference.targets):
            by_distance, self._due = False, inf
        elif by_distance:
            self._since, self._due = (self._seen[1] if phase else None), float(t + 1)
        else:
            self._due = float(t + self._updates_of(self.reference.phase_lengths[phase]))
        self._matcher = self._new_matcher() if by_distance else None

    def _new_matcher(self) -> DistanceMatcher:
        start = self._phase_start
        return self.reference.matcher(
            self._phase,
            self._since,
            bandwidth=self.bandwidth,
            min_step=max(self.min_step, start),
            budget=None if self.timeout is None else start + self.timeout,
        )

    def _receive(self, rows: Rows) -> None:
        """Take recorded rows, in order."""
        distance = rows.displacement[self.reference.origin] / self._unit
        self._seen = (int(rows.step[-1]), float(distance[-1]))
        if self._matcher is None:
            return
        new = rows.step > self._phase_start
        self._matcher.update(rows.step[new], distance[new], rows.learning_rate[new])

    def _decide(self, t: int) -> float:
        """Return the factor on the learning rate after t updates."""
        self.recorder.flush(wait=False)
        if self._matcher is None:
            return self._drop("updates", None)
        self._due = float(max(t + 1, ceil(t * exp((self.bandwidth or BANDWIDTHS[0]) / 8))))
        found, self._seen = _of_rank_0((self._matcher.match, self._seen))
        match found.status:
            case Status.MATCHED:
                return self._drop("distance", found)
            case Status.ALREADY_ABOVE:
                return self._fail(self.already_above, found)
            case Status.NEVER_REACHED:
                return self._fail(self.on_timeout, found)
            case Status.DIVERGED:
                return self._fail("keep", found)
        return 1.0

    def _drop(self, reason: str, match: Match | None) -> float:
        """File the drop, or the growth of the batch, and begin the next phase; return the factor on the rate."""
        phase, rate = self._phase, float(self.optimizer.param_groups[0]["lr"])
        factor = self.reference.ratios[phase] if self.gamma is None else self.gamma
        found = match.to_dict() if match else {"step": self._seen[0], "distance": self._seen[1]}
        details = {
            "reason": reason,
            "distance": found["distance"],
            "target": found.get("target", self.reference.to_dict()["targets"][phase]),
            "standard_error": found.get("standard_error"),
            "matched_step": found["step"],
        }
        if self.grow is not None and factor < 1:
            before, after = self.grow(1 / factor)
            if after > before:
                self.recorder.event(BATCH_GROWTH, batch_from=before, batch_to=after, **details)
            self._growth *= after / before
            factor = 1.0 if round(before / factor) == after else factor * after / before
        if factor != 1:
            self.recorder.event(LR_DROP, lr_from=rate, lr_to=rate * factor, **details)
        self._factor *= factor
        self._begin_phase(phase + 1, self.recorder.step)
        return factor

    def _fail(self, choice: OnFailure, match: Match) -> float:
        """Drop all the same, raise, or file the failure once and keep the rate; return the factor."""
        if choice == "drop":
            return self._drop(match.status, match)
        if self._reported != match.status:
            self.recorder.event("match_failed", status=str(match.status), sentence=match.sentence)
            self._reported = str(match.status)
        if choice == "raise":
            raise NotMatchedError(f"{self.recorder.path}: {match.sentence}")
        if match.status.final:
            self._due = inf
        return 1.0


def _check(name: str, value: object, expected: str, holds: bool) -> None:
    if not holds:
        raise SettingError(f"{name} is {value!r}; expected {expected}")


_Decision = tuple[Match, tuple[int, float]]


def _of_rank_0(decision: _Decision) -> _Decision:
    """Return rank 0's decision on every rank: others may have got their rows later, or none at all."""
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return decision
    held = [decision]
    distributed.broadcast_object_list(held, src=0)
    return held[0]
