"""Start a training where another run was: from its weights and, if they were kept, its optimizer's averages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from train.configs.config import TrainConfig
from train.configs.warm_start_source import WarmStartSource
from train.engine.checkpoint import CHECKPOINT, CHECKPOINT_ENTRIES
from train.engine.state_file import path_beside, read_state, write_state
from train.errors import ConfigError
from trajectory import Run
from trajectory.storage.location import StoreLike, open_backend

_AVERAGES = {"sgd": {"momentum_buffer"}, "adam": {"step", "exp_avg", "exp_avg_sq"}}
_ADVICE = "start from another run"


class OptimizerStates:
    """States of a run's optimizer, each kept with a snapshot of the weights: RUN.optimizer/STEP.pt beside the store.

    Args:
        out: the run's store.

    Attributes:
        folder: where they lie; None for a run that is in no local folder.
    """

    def __init__(self, out: StoreLike):
        run = open_backend(out).path
        self.folder = path_beside(run, ".optimizer") if isinstance(run, Path) else None

    def write(self, step: int, optimizer: Optimizer) -> None:
        """Keep an optimizer's state.

        Args:
            step: the updates made so far.
            optimizer: the optimizer.

        Raises:
            ConfigError: if the run is in no local folder, or the state cannot be written.
        """
        if self.folder is None:
            raise ConfigError("keep_optimizer of a run that is in no local folder; expected a path on this machine")
        self.folder.mkdir(exist_ok=True)
        write_state(self.folder / f"{step}.pt", {"t": step, "optimizer": optimizer.state_dict()})

    def read(self, step: int) -> dict[str, Any] | None:
        """Read the state after some updates.

        Args:
            step: the updates.

        Returns:
            The optimizer's `state_dict()`; None if it was not kept.

        Raises:
            ConfigError: if it cannot be read.
        """
        path = self.folder / f"{step}.pt" if self.folder else None
        if path is None or not path.exists():
            return None
        return read_state(path, {"t": int, "optimizer": dict}, _ADVICE)["optimizer"]

    def remove(self) -> None:
        """Remove all states: their run begins anew."""
        if self.folder is not None:
            rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class WarmStart:
    """Where a training starts: weights and buffers of another run and, if there is one, its optimizer's state."""

    run: str
    """The run, or its checkpoint."""
    step: int
    """The updates that it had made."""
    weights: Mapping[str, Tensor]
    """The state dict of its model."""
    optimizer: Mapping[str, Any] | None
    """The state dict of its optimizer; None to begin without momentum and averages."""

    @classmethod
    def read(cls, config: TrainConfig) -> "WarmStart":
        """Return what a configuration starts from, read from the disk.

        Args:
            config: the configuration, with a warm start.

        Raises:
            StoreError: if there is no such run, or no snapshot at that step.
            ConfigError: if the run has no snapshot, if its checkpoint cannot be read, or if the optimizer's state is
                to be restored and was not kept.
        """
        named = WarmStartSource.parse(config.warm_start)
        if named.run.endswith(CHECKPOINT):
            state = read_state(Path(named.run), CHECKPOINT_ENTRIES, _ADVICE)
            step, weights, optimizer = state["t"], state["model"], state["optimizer"]
        else:
            run = Run(named.run)
            step = named.step_in(run)
            weights, optimizer = run.state_dict(step), OptimizerStates(named.run).read(step)
        if config.warm_start_optimizer == "fresh":
            optimizer = None
        elif config.warm_start_optimizer == "restore" and optimizer is None:
            raise ConfigError(
                f"{named.run}: kept no state of its optimizer at step {step}; train it with keep_optimizer, or leave"
                " warm_start_optimizer out"
            )
        return cls(named.run, step, weights, optimizer)

    def load_weights(self, model: nn.Module) -> None:
        """Load weights and buffers into a model, in place.

        Args:
            model: the model.

        Raises:
            ConfigError: if they are of another network.
        """
        states = (self.weights, model.state_dict())
        shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in states]
        for name in sorted(shapes[0].keys() | shapes[1].keys()):
            was, expected = (shape.get(name, "none") for shape in shapes)
            if was != expected:
                raise ConfigError(
                    f"{self.run}: is of another network: {name} is {was} there, {expected} here; start from its own"
                )
        model.load_state_dict(self.weights)

    def load_optimizer(self, optimizer: Optimizer, name: str) -> None:
        """Load momentum and averages into an optimizer; its rate, decay and other settings stay its own.

        Args:
            optimizer: the optimizer of a model that `load_weights` has filled.
            name: sgd, adam or adamw.

        Raises:
            ConfigError: if they are another kind of optimizer's.
        """
        if self.optimizer is None:
            return
        states = self.optimizer["state"]
        found = {key for state in states.values() for key in state}
        expected = _AVERAGES["sgd" if name == "sgd" else "adam"]
        if not found <= expected:
            raise ConfigError(
                f"{self.run}: the state of its optimizer holds {', '.join(sorted(found))}, {name} has"
                f" {', '.join(sorted(expected))}; start with the same optimizer, or with warm_start_optimizer fresh"
            )
        optimizer.load_state_dict({**optimizer.state_dict(), "state": states})

    def event(self) -> dict[str, Any]:
        """Return what the run's store says of its start."""
        return {"run": self.run, "from_step": self.step, "optimizer": "restored" if self.optimizer else "fresh"}
