"""`TrainConfig`: one training run, complete. It is also the command line of `ultraslow train`.

Neither torch nor a data set is loaded here, so that `ultraslow train RECIPE --help` is quick. The choices that other
modules offer are therefore written out; tests hold them equal to those modules' own.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from math import ceil
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from train.configs.lr_schedule import Regime, Schedule, updates_per_epoch
from train.errors import ConfigError
from trajectory.errors import RecordingError
from trajectory.schedule import Every, LogSpaced, origin_steps
from ultraslow.large_batch.adam_scaling import AdamSettings, BetaScaling, scaled_adam
from ultraslow.large_batch.errors import SettingError
from ultraslow.large_batch.lr_scaling import LrScaling, scaled_lr

Network = Literal["f1", "f1-small", "c1", "vgg", "resnet44", "wrn16-4", "alexnet"]  # train.models.NETWORKS
DatasetName = Literal["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "imagenet"]  # train.data.readers
LaterPhases = Literal["updates", "distance"]  # analysis.matching.reference
OnFailure = Literal["keep", "drop", "raise"]  # ultraslow.large_batch.distance_matched_lr
OptimizerName = Literal["sgd", "adam", "adamw"]
Precision = Literal["float32", "bfloat16"]
Protocol = Literal["default", "published"]
AtMatch = Literal["drop", "grow"]
WarmStartOptimizer = Literal["if-kept", "restore", "fresh"]
Quantity = Literal["distance", "norm", "update_norm", "grad_norm", "momentum_norm"]  # trajectory.schema.layout

# Of a matched run, unless it says otherwise: without one a √-scaled batch of 4096 overshoots its target
# (docs/matching.md).
MATCH_WARMUP_STEPS = 100
MATCH_MIN_STEP = 100  # analysis.matching.distance_matcher.TRANSIENT
_PUBLISHED_BASE = 256  # of the published code's main_normal.py, though its help says 128


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run, complete.

    Change one with `dataclasses.replace`. A string under a field says what it means; `ultraslow train RECIPE --help`
    shows it, and the value that the recipe has.

    Raises:
        ConfigError: for values that cannot be run.

    Examples:
        >>> from dataclasses import replace
        >>> from train import RECIPES
        >>> config = replace(RECIPES["f1-mnist"](), batch_size=4096, lr_scaling="sqrt", ghost_batch_size=128)
        >>> config.method
        'LB 4096 +LR +GBN'
        >>> config.schedule(train_size=60_000).updates
        700
    """

    recipe: str
    """Name of the recipe that the run is of: its store's file name begins with it."""
    network: Network
    """The network, as train.models builds it."""
    dataset: DatasetName
    """The data set, as train.data reads it."""
    batch_size: int
    """Samples in an update, B; the short last batch of an epoch is dropped."""
    base_batch_size: int
    """The small batch B₀ that the learning rate and the epochs are meant for."""
    lr: float
    """Learning rate at the base batch size, before the first drop."""
    lr_scaling: LrScaling = "none"
    """How the learning rate follows the batch size: not at all, × √(B/B₀), or × B/B₀."""
    drops: tuple[tuple[float, float], ...] = ()
    """Pairs EPOCH FACTOR: after that many epochs the learning rate is multiplied by the factor."""
    epochs: float
    """Passes through the training set; counted at the base batch size under regime adaptation."""
    protocol: Protocol = "default"
    """default: as this page says. published: what the paper's published code does (docs/reproduction.md)."""
    regime_adaptation: bool = False
    """Stretch the epoch counts, so that a large batch makes as many updates as the base batch."""
    warmup_steps: int | None = None
    """Updates over which the learning rate grows linearly to its value. None: 100 under a match, otherwise 0."""
    ghost_batch_size: int | None = None
    """Normalize over ghost batches of at most this size, as even as they come. None: over the whole batch."""
    ghost_noise: int | None = None
    """Normalize over the whole batch, with the noise that ghost batches of this size would add. None: without."""
    optimizer: OptimizerName = "sgd"
    """sgd, with momentum; adam; or adamw, with its weight decay apart from the gradient. Each wants its own lr."""
    momentum: float = 0.9
    """Momentum of SGD."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam and AdamW at the base batch size: β₁ of the mean gradient, β₂ of the mean squared gradient."""
    eps: float = 1e-8
    """Of Adam and AdamW at the base batch size: ε, added to the root of the mean squared gradient."""
    beta_scaling: BetaScaling = "none"
    """How betas and eps follow κ = B/B₀. sde: 1 − β → κ(1 − β), ε/√κ, with lr_scaling sqrt. half-life: β₂^κ."""
    weight_decay: float = 0.0
    """Weight decay: added to the gradient by SGD and Adam, λ; by AdamW times the rate to the update."""
    weight_decay_until: float | None = None
    """Epochs after which the weight decay is 0. None: it stays."""
    max_grad_norm: float | None = 5.0  # the paper's published code
    """The gradient's total norm is clipped to this. None or 0: no clipping."""
    multiplicative_noise: bool = False
    """Weight the samples of a batch at random, so that it is as noisy as one of the base batch size."""
    augment: bool = False
    """Crop each training image at random (padded by 4; for ImageNet a part of it, scaled) and mirror half of them."""
    input_noise: float = 0.0
    """Standard deviation of the Gaussian noise that is added to each normalized training input."""
    label_noise: float = 0.0
    """Fraction of the training labels that are shuffled, the same ones for every seed."""
    precision: Precision = "float32"
    """Precision of the forward and backward pass. bfloat16: by autocast; weights and evaluation stay float32."""
    channels_last: bool = False
    """Keep images and convolutions with the channels last in memory."""
    compile: bool = False
    """Compile the network (torch.compile) for training; the evaluation runs it as it is."""
    cuda_graph: bool = False
    """Capture the update in a CUDA graph and replay it. Needs a GPU, one process, and a record of every update."""
    match: tuple[str, ...] = ()
    """Reference runs: the learning rate drops at their distances at their drops, instead of at epochs."""
    match_origin: int = 0
    """Under a match, the update t_w that both runs' distances are measured from, ‖w_t − w_{t_w}‖."""
    min_step: int = MATCH_MIN_STEP
    """Under a match, the update before which no distance counts; no less than the warm-up."""
    gamma: float | None = None
    """Under a match, the factor of every drop. None: the reference's own factors."""
    at_match: AtMatch = "drop"
    """At a match: drop the rate by the factor; or grow the batch by its inverse instead, as far as the data reach."""
    later_phases: LaterPhases = "updates"
    """Under a match, what later drops follow: the reference's number of updates in the phase, or its distance."""
    timeout: int | None = None
    """Under a match, updates that a phase may last. None: no limit."""
    on_timeout: OnFailure = "keep"
    """After the timeout: keep the learning rate, drop it, or raise NotMatchedError."""
    already_above: OnFailure = "keep"
    """What to do if the run is above its target and was never seen below it."""
    warm_start: str = ""
    """RUN, RUN@STEP or RUN@3epochs: start from the weights of a recorded run's snapshot, by default its last one.
    RUN.checkpoint.pt: from those of an interrupted run's checkpoint."""
    warm_start_optimizer: WarmStartOptimizer = "if-kept"
    """On a warm start, the optimizer's momentum and averages: restore them if that run kept them (if-kept), demand
    that it did (restore), or begin without (fresh). The learning rate is this run's own."""
    seed: int = 0
    """Fixes the initial weights, the order of the samples and all noise."""
    snapshots_per_decade: int = 4
    """Weight snapshots in a decade of updates, log-spaced. 0: none."""
    snapshot_epochs: float = 0.0
    """Epochs from one further weight snapshot to the next. 0: none."""
    keep_optimizer: bool = False
    """Keep the optimizer's state with every snapshot, in RUN.optimizer, for warm starts that go on with it."""
    rows_per_decade: int = 0
    """Recorded updates in a decade of updates, log-spaced. 0: every update is recorded."""
    origins: tuple[int | str, ...] = ()
    """Further updates t_w that distances are measured from; 5tau: five memory times (1 − μ)/(ηλ)."""
    quantities: tuple[Quantity, ...] = ("distance",)
    """What is recorded, of each layer and in total. The motion budget needs update_norm, the equilibrium norm too."""
    sketch: int = 0
    """Size K of each layer's count sketch: distances between any two sketched steps follow to 1/√(2K). 0: none."""
    sketches: str = "log:12"
    """Steps that sketches are taken at: log:N, N a decade, or every:N, for averages over time."""
    noise_scale: str = ""
    """Updates after which the gradient noise scale tr Σ/|G|² is measured: log:N, N a decade, or every:N."""
    noise_scale_batches: int = 8
    """Further batches that one such measurement takes; each costs a forward and a backward pass."""
    label: str = ""
    """What tables and figures call the run. Empty: its method, as in LB 4096 +LR +GBN."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if get_origin(field.type) is Literal:
                one_of(field.name, value, get_args(field.type))
            if field.type is bool and not isinstance(value, bool):
                raise ConfigError(f"{field.name} is {value!r}; expected true or false")
        for name, least in _WHOLE_NUMBERS.items():
            _check_at_least(name, getattr(self, name), least)
        if self.ghost_batch_size is not None:
            _check_at_least("ghost_batch_size", self.ghost_batch_size, 2)
        if self.ghost_noise is not None:
            _check_at_least("ghost_noise", self.ghost_noise, 2)
            if self.ghost_batch_size is not None:
                raise ConfigError("got ghost_noise with ghost_batch_size, whose noise it stands for; leave one out")
        if not 0 <= self.input_noise < float("inf"):
            raise ConfigError(f"input_noise is {self.input_noise}; expected 0 or more")
        if not 0 <= self.snapshot_epochs < float("inf"):
            raise ConfigError(f"snapshot_epochs is {self.snapshot_epochs}; expected 0 or more")
        if not 0 <= self.label_noise <= 1:
            raise ConfigError(f"label_noise is {self.label_noise}; expected a fraction from 0 to 1")
        match = (self.match,) if isinstance(self.match, str | Path) else self.match
        object.__setattr__(self, "match", tuple(str(path) for path in match))
        if self.max_grad_norm == 0:  # TOML knows no None
            object.__setattr__(self, "max_grad_norm", None)
        if self.cuda_graph and (self.rows_per_decade or self.origins or self.match_origin):
            raise ConfigError(
                "got cuda_graph with rows_per_decade, origins or match_origin; leave one out: a graph stays as it is"
            )
        if self.cuda_graph and self.published:
            raise ConfigError(
                "got cuda_graph with the published protocol, whose last batches are short; leave one out"
            )
        for quantity in self.quantities:
            one_of("quantity", quantity, get_args(Quantity))
        if "distance" not in self.quantities:
            raise ConfigError(f"quantities are {', '.join(self.quantities)}; expected distance among them")
        self._check_optimizer()
        self._check_optimizer_state()
        self._check_growth()
        self.origin_steps()
        self.sketch_steps()
        if self.noise_scale:
            self.noise_scale_steps()

    @property
    def published(self) -> bool:
        """Whether the run follows the paper's published code: also its networks, pictures and last, short batches."""
        return self.protocol == "published"

    @property
    def augments(self) -> bool:
        """Whether training images are cropped and mirrored: the published code does so with all but the digits."""
        return self.augment or (self.published and self.dataset != "digits")

    @property
    def _scaling_base(self) -> int:
        """The batch size that learning rate and epochs are scaled from: the code's are 256, and its ghost size."""
        if not self.published:
            return self.base_batch_size
        return _PUBLISHED_BASE if self.ghost_batch_size is None else self.ghost_batch_size

    @property
    def method(self) -> str:
        """The paper's name for the method: SB or LB with the batch size, then what was added to it."""
        size = "SB" if self.batch_size <= self.base_batch_size else "LB"
        switches = {
            "+LR": self.lr_scaling == "sqrt",
            "+linear LR": self.lr_scaling == "linear",
            "+β": self.optimizer != "sgd" and self.beta_scaling != "none",
            "+GBN": self.ghost_batch_size is not None and self.ghost_batch_size < self.batch_size,
            "+GNI": self.ghost_noise is not None,
            "+RA": self.regime_adaptation,
            "+noise": self.multiplicative_noise,
            "+match": bool(self.match),
            "+growth": self.at_match == "grow",
        }
        optimizer = [] if self.optimizer == "sgd" else [_DISPLAY_NAMES[self.optimizer]]
        return " ".join([size, str(self.batch_size), *optimizer, *(name for name, on in switches.items() if on)])

    def regime(self, train_size: int) -> Regime:
        """Return the regime as it is run: learning rate and epoch counts adapted to the batch size.

        Regime adaptation counts in whole batches, (N // B₀) / (N // B), so that the numbers of updates are equal. The
        published code multiplies epochs by B/B₀, rounded up.

        Args:
            train_size: samples in the training set, N.

        Raises:
            ConfigError: if a batch size is beyond the training set.
        """
        regime = self._regime()
        if not self.regime_adaptation:
            return regime
        if self.published:
            return regime.adapted(ceil(self.batch_size / self._scaling_base))
        base = updates_per_epoch(train_size, self.base_batch_size)
        return regime.adapted(base / updates_per_epoch(train_size, self.batch_size))

    def schedule(self, train_size: int) -> Schedule:
        """Return the learning rate of every update. Under a match it has no drops: the distance decides.

        Args:
            train_size: samples in the training set.

        Raises:
            ConfigError: if a batch size is beyond the training set.
        """
        return self.regime(train_size).schedule(train_size, self.batch_size, keep_short=self.published)

    @property
    def adam(self) -> AdamSettings:
        """The settings of Adam and AdamW as they are run, adapted to the batch size."""
        return self._scaled_adam()

    def origin_steps(self) -> tuple[int, ...]:
        """Return the updates that distances are measured from, beside w_0.

        Raises:
            ConfigError: for an origin that is none.
        """
        regime = self._regime()
        decay = regime.lr * regime.weight_decay
        steps_of_its_size = 1.0 if self.optimizer == "adamw" else 1 - regime.momentum
        known = decay and self.optimizer != "adam"  # Adam divides the decay by the gradient's size
        try:
            steps = origin_steps(self.origins, steps_of_its_size / decay if known else None)
        except RecordingError as error:
            raise ConfigError(str(error)) from None
        if steps and steps[0] < 0:
            raise ConfigError(f"origins is {self.origins}; expected updates from 1 on")
        return steps

    def sketch_steps(self) -> LogSpaced | Every:
        """Return the steps that sketches are taken at.

        Raises:
            ConfigError: for text that names none.
        """
        return _schedule("sketches", self.sketches)

    def noise_scale_steps(self) -> LogSpaced | Every:
        """Return the updates after which the gradient noise scale is measured.

        Raises:
            ConfigError: for text that names none.
        """
        return _schedule("noise_scale", self.noise_scale)

    def record(self, train_size: int) -> dict[str, Any]:
        """Return what a run's store says: the values as run, and this configuration under "settings".

        Args:
            train_size: samples in the training set.

        Raises:
            ConfigError: if a batch size is beyond the training set.
        """
        regime, schedule = self.regime(train_size), self.schedule(train_size)
        return {
            **asdict(self),
            "label": self.label or self.method,
            "lr": regime.lr,
            "origins": list(self.origin_steps()),
            "momentum": regime.momentum,
            **({} if self.optimizer == "sgd" else asdict(self.adam)),
            "augment": self.augments,
            "epochs": regime.epochs,
            "warmup_steps": regime.warmup_steps,
            "drops": regime.drops,
            "train_size": train_size,
            "updates": schedule.updates,
            "drop_steps": schedule.drops,
            "settings": asdict(self),
        }

    def _check_optimizer(self) -> None:
        """Raises ConfigError for settings that the optimizer cannot take, or does not know."""
        if self.optimizer == "sgd" and self.beta_scaling != "none":
            raise ConfigError(f"got beta_scaling {self.beta_scaling} with sgd, which has no betas; leave one out")
        if self.optimizer != "sgd" and self.published:
            raise ConfigError(
                f"got {self.optimizer} with the published protocol, which trains with sgd; leave one out"
            )
        try:
            self._scaled_adam()
        except (SettingError, TypeError) as error:
            raise ConfigError(str(error)) from None

    def _check_optimizer_state(self) -> None:
        """Raises ConfigError if the optimizer's state cannot be kept, or restored."""
        if self.keep_optimizer and not (self.snapshots_per_decade or self.snapshot_epochs):
            raise ConfigError("got keep_optimizer without snapshots, which it is kept with; ask for snapshots too")
        if self.warm_start_optimizer == "restore" and not self.warm_start:
            raise ConfigError("got warm_start_optimizer restore without a warm_start; name the run to start from")
        if self.warm_start_optimizer == "restore" and self.published:
            raise ConfigError(
                "got warm_start_optimizer restore with the published protocol, whose momentum is lost each epoch;"
                " leave one out"
            )

    def _check_growth(self) -> None:
        """Raises ConfigError for settings that a batch that grows cannot go with."""
        if self.at_match == "drop":
            return
        if not self.match:
            raise ConfigError("got at_match grow without a match; name the reference runs")
        for name in ("cuda_graph", "multiplicative_noise", "ghost_noise", "published"):
            if getattr(self, name):
                raise ConfigError(f"got at_match grow with {name}, which is for one batch size; leave one out")

    def _scaled_adam(self) -> AdamSettings:
        settings = AdamSettings(betas=self.betas, eps=self.eps)
        return scaled_adam(self.beta_scaling, settings, self.batch_size, self._scaling_base)

    @property
    def _momentum(self) -> float:
        """How much of the last update the next one repeats: μ of SGD, β₁ of Adam and AdamW."""
        if self.optimizer != "sgd":
            return self.adam.betas[0]
        return 0.0 if self.published and self.network == "c1" else self.momentum  # the code sets none there

    def _regime(self) -> Regime:
        default_warmup = MATCH_WARMUP_STEPS if self.match else 0
        return Regime(
            lr=scaled_lr(self.lr_scaling, self.lr, self.batch_size, self._scaling_base),
            drops=() if self.match else self.drops,
            epochs=self.epochs,
            warmup_steps=default_warmup if self.warmup_steps is None else self.warmup_steps,
            momentum=self._momentum,
            weight_decay=self.weight_decay,
            weight_decay_until=self.weight_decay_until,
            max_grad_norm=self.max_grad_norm,
        )


_DISPLAY_NAMES = {"adam": "Adam", "adamw": "AdamW"}
_SCHEDULES = {"log": LogSpaced, "every": Every}
_WHOLE_NUMBERS = {  # and the least that each may be
    "batch_size": 1,
    "base_batch_size": 1,
    "seed": 0,
    "snapshots_per_decade": 0,
    "rows_per_decade": 0,
    "match_origin": 0,
    "sketch": 0,
    "min_step": 0,
    "noise_scale_batches": 2,
}


def one_of(what: str, name: str, known: Collection[str]) -> None:
    """Check that a name is among the known ones.

    Args:
        what: what the name is of, for the message.
        name: the name.
        known: the names that there are.

    Raises:
        ConfigError: if it is not; the message names the known ones, and the closest.
    """
    if name not in known:
        close = get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"no {what} is named {name!r}; known are {', '.join(known)}{hint}")


def _schedule(name: str, text: str) -> LogSpaced | Every:
    """Return the steps that log:N or every:N names."""
    kind, _, number = text.partition(":")
    if kind not in _SCHEDULES or not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"{name} is {text!r}; expected log:N or every:N, such as every:100")
    return _SCHEDULES[kind](int(number))


def _check_at_least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; expected a whole number of at least {least}")
