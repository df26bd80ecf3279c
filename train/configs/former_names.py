"""Names that settings had in earlier versions: stored runs, recipe files and sweeps that hold them are read on."""

from collections.abc import Mapping
from typing import Any

from train.errors import ConfigError

FORMER_NAMES = {
    "lr_rule": "lr_scaling",
    "clip_norm": "max_grad_norm",
    "warm_up": "warmup_steps",
    "rows": "rows_per_decade",
    "snapshots": "snapshots_per_decade",
    "seeds_together": "batched_seeds",
}


def current_names(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries under the names of this version, in their order; other entries are left alone.

    Args:
        entries: settings, or all that a run's store says of its configuration, with the settings in "settings".

    Raises:
        ConfigError: if a setting is given under both of its names.
    """
    found: dict[str, Any] = {}
    for former, value in entries.items():
        name = FORMER_NAMES.get(former, former)
        if name != former and name in entries:
            raise ConfigError(f"got {name} and {former}, its former name; leave {former} out")
        found[name] = current_names(value) if name == "settings" and isinstance(value, Mapping) else value
    return found
