"""The weights that a run holds: its snapshots."""

from typing import TYPE_CHECKING

from trajectory.description import RunDescription
from trajectory.errors import StoreError
from trajectory.storage.moment import Moment
from trajectory.storage.snapshot_reader import SnapshotReader

if TYPE_CHECKING:
    import torch


class RunWeights(RunDescription):
    """Reads the weights and buffers that were saved on the way.

    Args:
        moment: the store as it stood when it was opened.
    """

    def __init__(self, moment: Moment):
        super().__init__(moment.backend.path, moment.root, moment.uncommitted)
        self._snapshots = SnapshotReader(moment)

    @property
    def snapshots(self) -> list[int]:
        """The steps that hold weights."""
        return list(self._snapshots.steps)

    def state_dict(self, step: int) -> "dict[str, torch.Tensor]":
        """Return weights and buffers.

        Weights are exact, unless the recorder rounded them (`snapshot_dtype="bfloat16"`).

        Args:
            step: the number of updates made, one of `snapshots`.

        Returns:
            Tensors by name, in their own types, on the CPU.

        Raises:
            StoreError: no snapshot was taken at that step, or its stored bytes are damaged or missing.
        """
        return self._snapshots.state_dict(step)

    def load_into(self, model: "torch.nn.Module", step: int) -> None:
        """Put weights and buffers into a model, in place.

        Args:
            model: the network that was recorded. Names are compared without the prefixes that wrappers add, such as
                DistributedDataParallel's `module.`; a sharded parameter takes its shard.
            step: the number of updates made, one of `snapshots`.

        Raises:
            StoreError: as `state_dict`, or the model's names or shapes differ from the run's.
        """
        from trajectory.measure.plain_names import names_without_prefixes, plain_names
        from trajectory.measure.sharding import put

        state = self.state_dict(step)
        full = model.state_dict(keep_vars=True)
        own = dict(zip(map(plain_names(model), full), full.values(), strict=True))
        if not state.keys() <= own.keys():  # earlier versions took every `module.` for a wrapper's
            own = {plain: full[name] for name, plain in names_without_prefixes(full).items()}
        wrong = sorted(name for name, tensor in state.items() if name not in own or own[name].shape != tensor.shape)
        if wrong:
            raise StoreError(
                f"{self.path}: does not fit this model: {wrong[0]} is missing or has another shape"
                f" ({len(wrong)} such tensors); build the network the run was recorded with"
            )
        for name, tensor in state.items():
            put(tensor, own[name])
