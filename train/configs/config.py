"""`TrainConfig`: one training run, complete. It is also the command line of `ultraslow train`."""

from dataclasses import asdict, dataclass, fields
from math import ceil
from pathlib import Path
from typing import Any

from train.configs import choices
from train.configs.checks import check
from train.configs.field_types import frozen
from train.configs.lr_schedule import Regime, Schedule, updates_per_epoch
from train.configs.method_name import method_name
from train.errors import ConfigError
from trajectory.errors import RecordingError
from trajectory.schedule import Every, LogSpaced, origin_steps
from ultraslow.large_batch.adam_scaling import AdamSettings, BetaScaling, scaled_adam
from ultraslow.large_batch.lr_scaling import LrScaling, scaled_lr

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
    network: choices.Network
    """The network, as train.models builds it."""
    dataset: choices.DatasetName
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
    protocol: choices.Protocol = "default"
    """default: as this page says. published: what the paper's published code does (docs/reproduction.md)."""
    regime_adaptation: bool = False
    """Stretch the epoch counts, so that a large batch makes as many updates as the base batch."""
    warmup_steps: int | None = None
    """Updates over which the learning rate grows linearly to its value. None: 100 under a match, otherwise 0."""
    ghost_batch_size: int | None = None
    """Normalize over ghost batches of at most this size, as even as they come. None: over the whole batch."""
    ghost_noise: int | None = None
    """Normalize over the whole batch, with the noise that ghost batches of this size would add. None: without."""
    optimizer: choices.OptimizerName = "sgd"
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
    precision: choices.Precision = "float32"
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
    at_match: choices.AtMatch = "drop"
    """At a match: drop the rate by the factor; or grow the batch by its inverse instead, as far as the data reach."""
    later_phases: choices.LaterPhases = "updates"
    """Under a match, what later drops follow: the reference's number of updates in the phase, or its distance."""
    timeout: int | None = None
    """Under a match, updates that a phase may last. None: no limit."""
    on_timeout: choices.OnFailure = "keep"
    """After the timeout: keep the learning rate, drop it, or raise NotMatchedError."""
    already_above: choices.OnFailure = "keep"
    """What to do if the run is above its target and was never seen below it."""
    warm_start: str = ""
    """RUN, RUN@STEP or RUN@3epochs: start from the weights of a recorded run's snapshot, by default its last one.
    RUN.checkpoint.pt: from those of an interrupted run's checkpoint."""
    warm_start_optimizer: choices.WarmStartOptimizer = "if-kept"
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
    quantities: tuple[choices.Quantity, ...] = ("distance",)
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
        if isinstance(self.match, str | Path):
            object.__setattr__(self, "match", (self.match,))
        for field in fields(self):
            object.__setattr__(self, field.name, frozen(getattr(self, field.name)))
        if self.max_grad_norm == 0:  # TOML knows no None
            object.__setattr__(self, "max_grad_norm", None)
        check(self)

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
        return method_name(self)

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
        settings = AdamSettings(betas=self.betas, eps=self.eps)
        return scaled_adam(self.beta_scaling, settings, self.batch_size, self._scaling_base)

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
        return choices.steps_of("sketches", self.sketches)

    def noise_scale_steps(self) -> LogSpaced | Every:
        """Return the updates after which the gradient noise scale is measured.

        Raises:
            ConfigError: for text that names none.
        """
        return choices.steps_of("noise_scale", self.noise_scale)

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
