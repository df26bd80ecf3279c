"""The experiments, each a named function returning a complete `Config`.

Protocol: Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741) and, where the paper is silent, its published code.
Change a recipe with `dataclasses.replace(f1_mnist(), batch_size=4096, lr_rule="sqrt",
ghost_batch_size=128)`.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from analysis.matching.distance_matcher import TRANSIENT
from analysis.matching.reference import LaterPhases
from train.configs.lr_schedule import LrRule, Regime, Schedule, scaled_lr, updates_per_epoch
from train.data.readers import IMAGE_FOLDERS, READERS
from train.errors import ConfigError
from train.models import NETWORKS
from ultraslow.large_batch.distance_matched_lr import OnFailure
from ultraslow.large_batch.multiplicative_noise import matching_sigma

# Of a matched run, unless it says otherwise: without one a √-scaled batch of 4096 is thrown past its target
# (docs/matching.md).
MATCH_WARM_UP = 100
Precision = Literal["float32", "bfloat16"]
_CHOICES: dict[str, tuple[str, ...]] = {
    "precision": get_args(Precision),
    "later_phases": get_args(LaterPhases),
    "on_timeout": get_args(OnFailure),
    "already_above": get_args(OnFailure),
}
_SWITCHES = ("regime_adaptation", "multiplicative_noise", "augment", "channels_last", "compile", "cuda_graph")


@dataclass(frozen=True, kw_only=True)
class Config:
    """One training run, complete. Raises ConfigError for values that cannot be run."""

    recipe: str
    """Name of the recipe this came from."""
    network: str
    """One of train.models.NETWORKS."""
    dataset: str
    """One of train.data.readers.READERS, or of IMAGE_FOLDERS."""
    batch_size: int
    """Samples in an update; the short last batch of an epoch is dropped."""
    base_batch_size: int
    """The small batch that lr and epochs are meant for."""
    lr: float
    """Learning rate at base_batch_size, before the first drop."""
    lr_rule: LrRule = "none"
    """How lr follows the batch size: none, sqrt (× √(B/B₀)) or linear (× B/B₀)."""
    drops: tuple[tuple[float, float], ...] = ()
    """(epoch, factor): after that many epochs the learning rate is multiplied by the factor."""
    epochs: float
    """Passes through the training set (at base_batch_size, under regime adaptation)."""
    regime_adaptation: bool = False
    """Stretch the epoch counts so that a large batch makes as many updates as the base batch."""
    warm_up: int | None = None
    """Updates over which the learning rate grows linearly from lr/warm_up; none: 100 under a match, otherwise 0."""
    ghost_batch_size: int | None = None
    """Batch normalization over ghost batches of this size at most; none for the whole batch. Where it does not divide
    the batch they are as even as they come (`ghost_batch_sizes`); of at least the batch's size, it is the whole."""
    momentum: float = 0.9
    """SGD momentum."""
    weight_decay: float = 0.0
    """SGD weight decay."""
    weight_decay_until: float | None = None
    """Epochs after which the weight decay is 0; none for never."""
    clip_norm: float | None = 5.0
    """The gradient's total norm is clipped to this; none for no clipping. 5: the paper's published code."""
    multiplicative_noise: bool = False
    """Weight the samples of a batch at random, so that it is as noisy as one of base_batch_size."""
    augment: bool = False
    """Crop each training image at random (padded by 4; ImageNet's: a part of it, scaled) and mirror half of them."""
    input_noise: float = 0.0
    """Standard deviation of Gaussian noise added to each normalized training input."""
    label_noise: float = 0.0
    """Fraction of the training labels that are shuffled, the same ones for every seed: slow to learn by heart."""
    precision: Precision = "float32"
    """Of the forward and backward pass; bfloat16 by autocast. Weights, updates and evaluation are float32."""
    channels_last: bool = False
    """Keep images and convolutions with the channels last in memory."""
    compile: bool = False
    """Compile the network (torch.compile) for training; it is evaluated as it is."""
    cuda_graph: bool = False
    """Capture the update in a CUDA graph and replay it: a GPU, one process, every update recorded from w_0 alone."""
    match: tuple[str, ...] = ()
    """Reference runs: drop the learning rate at their distance at their drops, instead of at epochs. The run
    ends when its last phase is as long as the reference's, and after `epochs` at the latest."""
    match_origin: int = 0
    """Under a match, the update t_w that both runs' distances are measured from, ‖w_t − w_{t_w}‖."""
    min_step: int = TRANSIENT
    """Under a match, the update before which nothing counts; no less than warm_up."""
    gamma: float | None = None
    """Under a match, the factor of every drop; none for the reference's own."""
    later_phases: LaterPhases = "updates"
    """Under a match, what later drops follow: the reference's number of updates in the phase, or its distance."""
    timeout: int | None = None
    """Under a match, updates that a phase may last; none for no limit."""
    on_timeout: OnFailure = "keep"
    """Then: keep the rate, drop it, or raise NotMatchedError."""
    already_above: OnFailure = "keep"
    """Likewise, when the run is above the target without having been seen below it."""
    warm_start: str = ""
    """RUN or RUN@STEP: start from the weights of a recorded run's snapshot, by default its last one."""
    seed: int = 0
    """Fixes the initial weights, the order of the samples and all noise."""
    snapshots: int = 4
    """Weight snapshots a decade of updates, log-spaced; 0 for none."""
    rows: int = 0
    """Recorded updates a decade, log-spaced; 0 records every update."""
    origins: tuple[int, ...] = ()
    """Further updates t_w that distances are measured from, ‖w_t − w_{t_w}‖."""
    label: str = ""
    """What tables and figures call the run; empty for a name made from the method."""

    def __post_init__(self) -> None:
        one_of("network", self.network, NETWORKS)
        one_of("dataset", self.dataset, (*READERS, *IMAGE_FOLDERS))
        for name, least in (("batch_size", 1), ("base_batch_size", 1), ("seed", 0), ("snapshots", 0), ("rows", 0)):
            _at_least(name, getattr(self, name), least)
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected true or false")
        if self.ghost_batch_size is not None:
            _at_least("ghost_batch_size", self.ghost_batch_size, 2)
        if not 0 <= self.input_noise < float("inf"):
            raise ConfigError(f"input_noise is {self.input_noise}; expected 0 or more")
        if not 0 <= self.label_noise <= 1:
            raise ConfigError(f"label_noise is {self.label_noise}; expected a fraction from 0 to 1")
        for name, known in _CHOICES.items():
            one_of(name, getattr(self, name), known)
        for name in ("match_origin", "min_step"):
            _at_least(name, getattr(self, name), 0)
        match = (self.match,) if isinstance(self.match, str | Path) else self.match
        object.__setattr__(self, "match", tuple(str(path) for path in match))
        if self.cuda_graph and (self.rows or self.origins or self.match_origin):
            raise ConfigError(
                "got cuda_graph with rows, origins or match_origin; leave one out: a graph stays as it is"
            )
        self._regime()

    @property
    def sigma(self) -> float:
        """Standard deviation of the samples' weights: 0 without multiplicative noise."""
        return matching_sigma(self.batch_size, self.base_batch_size) if self.multiplicative_noise else 0.0

    @property
    def method(self) -> str:
        """The paper's name for the method: SB or LB with the batch, then what was added to it."""
        size = "SB" if self.batch_size <= self.base_batch_size else "LB"
        switches = {
            "+LR": self.lr_rule == "sqrt",
            "+linear LR": self.lr_rule == "linear",
            "+GBN": self.ghost_batch_size is not None and self.ghost_batch_size < self.batch_size,
            "+RA": self.regime_adaptation,
            "+noise": self.multiplicative_noise,
            "+match": bool(self.match),
        }
        return " ".join([size, str(self.batch_size), *(name for name, on in switches.items() if on)])

    def regime(self, train_size: int) -> Regime:
        """The regime as it is run: learning rate and epoch counts adapted to the batch, as the switches say.

        Regime adaptation counts in whole batches: (N // B₀) / (N // B), so that the number of updates is
        equal.
        """
        regime = self._regime()
        if not self.regime_adaptation:
            return regime
        base = updates_per_epoch(train_size, self.base_batch_size)
        return regime.adapted(base / updates_per_epoch(train_size, self.batch_size))

    def schedule(self, train_size: int) -> Schedule:
        """The learning rate of every update. Under a match there are no drops: the distance decides."""
        return self.regime(train_size).schedule(train_size, self.batch_size)

    def record(self, train_size: int) -> dict[str, Any]:
        """What a run's store says: the values as run, and under "settings" this Config, to run it again."""
        regime = self.regime(train_size)
        return {
            **asdict(self),
            "label": self.label or self.method,
            "lr": regime.lr,
            "epochs": regime.epochs,
            "warm_up": regime.warm_up,
            "drops": regime.drops,
            "train_size": train_size,
            "updates": self.schedule(train_size).updates,
            "drop_steps": self.schedule(train_size).drops,
            "settings": asdict(self),
        }

    def _regime(self) -> Regime:
        return Regime(
            lr=scaled_lr(self.lr_rule, self.lr, self.batch_size, self.base_batch_size),
            drops=() if self.match else self.drops,
            epochs=self.epochs,
            warm_up=(MATCH_WARM_UP if self.match else 0) if self.warm_up is None else self.warm_up,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            weight_decay_until=self.weight_decay_until,
            clip_norm=self.clip_norm,
        )


def f1_digits() -> Config:
    """F1 cut to 3 layers of 64, on the digits that scikit-learn bundles: a minute on a laptop.

    1280 images are learned by heart in seconds; the noise on the inputs keeps the gradients alive. Batch
    256 with the √ rule, ghost batches of 16, a warm-up of 100 and regime adaptation travels as batch 16
    does, some updates later.
    """
    return Config(
        recipe="f1-digits",
        network="f1-small",
        dataset="digits",
        batch_size=16,
        base_batch_size=16,
        lr=0.05,
        drops=((15, 0.1),),
        epochs=30,
        weight_decay=1e-5,
        input_noise=0.5,
    )


def f1_mnist() -> Config:
    """F1 on MNIST: learning rate .1, ÷ 10 at epochs 10, 20 and 30 of 50 (the paper's published code)."""
    return Config(
        recipe="f1-mnist",
        network="f1",
        dataset="mnist",
        batch_size=128,
        base_batch_size=128,
        lr=0.1,
        drops=((10, 0.1), (20, 0.1), (30, 0.1)),
        epochs=50,
        weight_decay=1e-4,
    )


def f1_fashion_mnist() -> Config:
    """F1 on Fashion-MNIST, otherwise as on MNIST."""
    return replace(f1_mnist(), recipe="f1-fashion-mnist", dataset="fashion-mnist")


def c1_cifar10() -> Config:
    """C1 on CIFAR-10: learning rate 1e-3, 1e-2 from epoch 60, ÷ 10 at 120 and 180 of 200 (published code).

    The code sets no momentum where the paper says it has one: .9 here, as in the other networks.
    """
    return Config(
        recipe="c1-cifar10",
        network="c1",
        dataset="cifar10",
        batch_size=128,
        base_batch_size=128,
        lr=1e-3,
        drops=((60, 10.0), (120, 0.1), (180, 0.1)),
        epochs=200,
        weight_decay=5e-4,
        augment=True,
    )


def c3_cifar100() -> Config:
    """C3: the network and the regime of C1, on CIFAR-100."""
    return replace(c1_cifar10(), recipe="c3-cifar100", dataset="cifar100")


def resnet44_cifar10() -> Config:
    """ResNet44 on CIFAR-10: learning rate .1, ÷ 10 at epochs 81, 122 and 164 of 200 (published code)."""
    return Config(
        recipe="resnet44-cifar10",
        network="resnet44",
        dataset="cifar10",
        batch_size=128,
        base_batch_size=128,
        lr=0.1,
        drops=((81, 0.1), (122, 0.1), (164, 0.1)),
        epochs=200,
        weight_decay=1e-4,
        augment=True,
    )


def vgg_cifar10() -> Config:
    """VGG on CIFAR-10, in the regime of ResNet44."""
    return replace(resnet44_cifar10(), recipe="vgg-cifar10", network="vgg")


def wrn16_4_cifar100() -> Config:
    """WRN16-4 on CIFAR-100: learning rate .1; .02, .004, 1e-4 from epochs 60, 120, 140 of 200 (published code)."""
    return replace(
        resnet44_cifar10(),
        recipe="wrn16-4-cifar100",
        network="wrn16-4",
        dataset="cifar100",
        drops=((60, 0.2), (120, 0.2), (140, 0.025)),
    )


def alexnet_imagenet() -> Config:
    """AlexNet on ImageNet: rate .01; 5e-3, 1e-3, 5e-4, 1e-4 from epochs 10, 15, 20, 25 of 30 (published code).

    Weight decay ends with epoch 15. The images are files that worker processes read (`train.data.image_folder`).
    """
    return Config(
        recipe="alexnet-imagenet",
        network="alexnet",
        dataset="imagenet",
        batch_size=256,
        base_batch_size=256,
        lr=0.01,
        drops=((10, 0.5), (15, 0.2), (20, 0.5), (25, 0.2)),
        epochs=30,
        weight_decay=5e-4,
        weight_decay_until=15,
        augment=True,
    )


RECIPES: dict[str, Callable[[], Config]] = {
    "f1-digits": f1_digits,
    "f1-mnist": f1_mnist,
    "f1-fashion-mnist": f1_fashion_mnist,
    "c1-cifar10": c1_cifar10,
    "resnet44-cifar10": resnet44_cifar10,
    "vgg-cifar10": vgg_cifar10,
    "c3-cifar100": c3_cifar100,
    "wrn16-4-cifar100": wrn16_4_cifar100,
    "alexnet-imagenet": alexnet_imagenet,
}


def get(name: str) -> Config:
    """The recipe `name`; ConfigError names the known ones, and the closest."""
    one_of("recipe", name, RECIPES)
    return RECIPES[name]()


def one_of(what: str, name: str, known: Collection[str]) -> None:
    """Raises ConfigError, which names the known ones and the closest, if `name` is not among `known`."""
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"no {what} is named {name!r}; known are {', '.join(known)}{hint}")


def _at_least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} is {value!r}; expected a whole number of at least {least}")
