"""The paper's table from runs: validation accuracy by network, data set and method, beside the published one."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from math import nan
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.curve import Run
from analysis.run_curves import runs_in
from train.configs.config import TrainConfig
from train.configs.former_names import current_names
from train.errors import TableError
from train.reproduce.paper import ACCURACY, METHODS

_REQUIRED = object()
# As a store holds them: tuples are lists there.
_DEFAULTS = {
    field.name: list(field.default) if isinstance(field.default, tuple) else field.default
    for field in fields(TrainConfig)
    if field.default is not MISSING
}

# What each of the paper's methods switches on.
_SWITCHES = {(): "LB", ("LR",): "+LR", ("LR", "GBN"): "+GBN", ("LR", "GBN", "RA"): "+RA"}


def table(runs: Run | str | Path | Sequence[Run | str | Path]) -> pd.DataFrame:
    """Tabulate validation accuracy by network, data set and method, beside the paper's.

    The accuracy is that of the whole test set after the last update, not the best one on the way: so Hoffer, Hubara,
    Soudry 2017 (arXiv 1705.08741) report it in tables 1 and 2. Runs of one label and the same settings are seeds of
    one method. Those that are not complete are left out, and named in the frame's `attrs["left_out"]`.

    Args:
        runs: runs, their paths, or folders of them.

    Returns:
        A row for each network, data set, protocol and method, with the columns network, data, protocol ("default",
        or "published" for that of the paper's code), method (the run's label), batch_size, n (number of seeds),
        accuracy (mean over the seeds, %), std (their standard deviation, %; NaN for one seed), paper (%, for the same
        method at its own batch size, 128 or 4096; NaN where the paper has none), and the means of updates, epochs and
        wall_time (s).

    Raises:
        TableError: for a run without configuration or validation error, or if none is complete.

    Examples:
        >>> import torch
        >>> from train import table
        >>> from trajectory import Recorder
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> config = {"network": "f1", "dataset": "mnist", "batch_size": 128, "label": "SB 128"}
        >>> with Recorder("runs/sb.zarr", model, optimizer, config=config) as recorder:
        ...     model(torch.ones(8, 2)).mean().backward()
        ...     optimizer.step()
        ...     recorder.log(validation_error=0.02)
        >>> frame = table("runs")
        >>> print(frame[["network", "method", "n", "accuracy", "paper"]].to_string(index=False))
        network method  n  accuracy  paper
             f1 SB 128  1      98.0  98.27
    """
    found = runs_in(runs)
    complete = [run for run in found if run.status == "complete"]
    if not complete:
        raise TableError(f"got {len(found)} runs and none is complete; expected runs that ended")
    measured = pd.DataFrame([_measure(run) for run in complete])
    keys = ["network", "data", "protocol", "method", "batch_size", "settings", "rank", "paper"]
    groups = measured.groupby(keys, sort=False, dropna=False)
    rows = groups[["accuracy", "updates", "epochs", "wall_time"]].mean()
    rows.insert(0, "n", groups.size())
    rows.insert(2, "std", groups["accuracy"].std())
    frame = rows.reset_index().sort_values(["network", "data", "protocol", "rank", "batch_size"], kind="stable")
    columns = [*keys[:5], "n", "accuracy", "std", "paper", "updates", "epochs", "wall_time"]
    frame = frame[columns].reset_index(drop=True)
    frame.attrs["left_out"] = [run.name for run in found if run.status != "complete"]
    return frame


def paper_method(config: Mapping[str, Any]) -> str | None:
    """Return the paper's name for the method of a run; None if the paper has none.

    Args:
        config: the run's configuration.
    """
    large = config["batch_size"] > config.get("base_batch_size", config["batch_size"])
    ghost = config.get("ghost_batch_size")
    switches = {
        "LR": config.get("lr_scaling") == "sqrt",
        "GBN": ghost is not None and ghost < config["batch_size"],
        "RA": bool(config.get("regime_adaptation")),
        "another": bool(
            config.get("multiplicative_noise")
            or config.get("ghost_noise")
            or config.get("match")
            or config.get("lr_scaling") == "linear"
        ),
    }
    on = tuple(name for name, switched in switches.items() if switched)
    return _SWITCHES.get(on) if large else "SB" if "another" not in on else None


def _changed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that distinguish methods: those that are not at their default.

    A run of an earlier version lacks the settings that came later, and was made as their defaults say.
    """
    return {
        name: value
        for name, value in settings.items()
        if name not in ("seed", "match") and value != _DEFAULTS.get(name, _REQUIRED)
    }


def _measure(run: Run) -> dict[str, Any]:
    """Return one run's line."""
    config, metrics = current_names(run.config), run.metrics
    settings = config.get("settings", {})
    missing = [name for name in ("network", "dataset", "batch_size") if name not in config]
    if missing:
        raise TableError(f"{run.name}: its configuration has no {missing[0]!r}; expected a run of `ultraslow train`")
    if "validation_error" not in metrics or metrics["validation_error"].isna().all():
        raise TableError(
            f"{run.name}: no 'validation_error' is recorded; expected recorder.log(validation_error=...)"
        )
    evaluated = metrics[metrics["validation_error"].notna()]
    end = evaluated.iloc[-1]
    method = paper_method(config)
    published = ACCURACY.get((config["network"], config["dataset"]), {})
    return {
        "network": config["network"],
        "data": config["dataset"],
        "protocol": config.get("protocol", "default"),
        "method": config.get("label") or run.name,
        "batch_size": config["batch_size"],
        "settings": str(_changed(settings)),
        "rank": METHODS.index(method) if method else len(METHODS),
        "paper": published.get(method or "", nan),
        "accuracy": 100 * (1 - end["validation_error"]),
        "updates": float(evaluated.index[-1]),
        "epochs": end.get("epoch", nan),
        "wall_time": end.get("wall_time", nan),
    }
