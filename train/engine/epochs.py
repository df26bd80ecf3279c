"""Where updates lie in epochs, also where the batch grows on the way."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Epochs:
    """The epochs of one batch size: from the start, or from the update after which the batch grew to it.

    An epoch in which the batch grows is cut short, and the next one begins.
    """

    batch_size: int
    """Samples in an update."""
    per_epoch: int
    """Updates in an epoch."""
    since: int = 0
    """Updates made before."""
    first: int = 0
    """The number of the first epoch, from 0."""
    passed: float = 0.0
    """Passes through the training set before."""

    def at(self, t: int) -> tuple[int, int]:
        """Return the epoch that the update after t updates belongs to, and its place in it, both from 0.

        Args:
            t: the updates made so far.
        """
        epoch, place = divmod(t - self.since, self.per_epoch)
        return self.first + epoch, place

    def ends(self, t: int) -> bool:
        """Return whether an epoch ends after t updates.

        Args:
            t: the updates made so far.
        """
        return (t - self.since) % self.per_epoch == 0

    def passes(self, t: int) -> float:
        """Return the passes through the training set after t updates.

        Args:
            t: the updates made so far.
        """
        return self.passed + (t - self.since) / self.per_epoch

    def grown(self, t: int, batch_size: int, per_epoch: int) -> "Epochs":
        """Return the epochs of a larger batch, from t updates on.

        Args:
            t: the updates made so far.
            batch_size: samples in an update from then on.
            per_epoch: updates in an epoch from then on.
        """
        epoch, place = self.at(t)
        return Epochs(batch_size, per_epoch, t, epoch + (place > 0), self.passes(t))

    def state_dict(self) -> dict[str, float]:
        """Return all fields, from which the epochs can be made again."""
        return asdict(self)
