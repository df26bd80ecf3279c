"""What the paper's tables call a method."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.configs.config import TrainConfig

_DISPLAY_NAMES = {"adam": "Adam", "adamw": "AdamW"}


def method_name(config: "TrainConfig") -> str:
    """Name a method: SB or LB with the batch size, then what was added to it.

    Args:
        config: the configuration of a run.

    Returns:
        The name, such as `LB 4096 +LR +GBN`.
    """
    size = "SB" if config.batch_size <= config.base_batch_size else "LB"
    switches = {
        "+LR": config.lr_scaling == "sqrt",
        "+linear LR": config.lr_scaling == "linear",
        "+β": config.optimizer != "sgd" and config.beta_scaling != "none",
        "+GBN": config.ghost_batch_size is not None and config.ghost_batch_size < config.batch_size,
        "+GNI": config.ghost_noise is not None,
        "+RA": config.regime_adaptation,
        "+noise": config.multiplicative_noise,
        "+match": bool(config.match),
        "+growth": config.at_match == "grow",
    }
    optimizer = [] if config.optimizer == "sgd" else [_DISPLAY_NAMES[config.optimizer]]
    return " ".join([size, str(config.batch_size), *optimizer, *(name for name, on in switches.items() if on)])
