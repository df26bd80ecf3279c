"""What is known of a run without reading an array."""

from pathlib import Path, PurePosixPath
from typing import Any

from trajectory.errors import printable
from trajectory.schema.layout import BATCH_GROWTH, LR_DROP, WARNING, Event
from trajectory.storage.reader import UncommittedRows
from trajectory.storage.root import Root


class RunDescription:
    """What the root of a run's store and its journal say of the run.

    Args:
        path: names the store to people.
        root: the store's root.
        uncommitted: what its journal holds.
    """

    def __init__(self, path: Path | str, root: Root, uncommitted: UncommittedRows):
        self.path = path
        self._metadata, self._commit, self._uncommitted = root.metadata, root.commit, uncommitted

    @property
    def name(self) -> str:
        """The folder's name without `.zarr`."""
        return PurePosixPath(self.path).name.removesuffix(".zarr")

    @property
    def id(self) -> str | None:
        """The 32 hexadecimal digits that name this recording wherever its store lies; None in stores of old."""
        return self._metadata.id

    @property
    def status(self) -> str:
        """How the run ended: `complete`, `interrupted (...)`, or `recording`, also after a kill."""
        return self._commit.status

    @property
    def config(self) -> dict[str, Any]:
        """The description of the run that was given to the recorder."""
        return dict(self._metadata.config)

    @property
    def settings(self) -> dict[str, Any]:
        """What the analysis reads of the run: `config`, and of its optimizer what `config` leaves out.

        The recorder notes what all of the optimizer's groups share at the start: `optimizer` (its type in lower
        case), `lr`, `weight_decay`, `momentum` (β₁ of Adam and AdamW), `nesterov` and `dampening`.
        """
        return self._metadata.settings

    @property
    def seed(self) -> int | None:
        """The run's seed, if it was given to the recorder."""
        return self._metadata.seed

    @property
    def versions(self) -> dict[str, str]:
        """Versions of Python and of the packages that made the run."""
        return dict(self._metadata.versions)

    @property
    def resumed(self) -> list[int]:
        """The steps at which the run was resumed after an interruption, in order."""
        return list(self._metadata.resumed)

    @property
    def host(self) -> str | None:
        """The machine that made the run."""
        return self._metadata.host

    @property
    def commit(self) -> str | None:
        """The git commit of the folder the run was started in, `-dirty` if files differed; None outside one."""
        return self._metadata.commit

    @property
    def origin_norm(self) -> float:
        """‖w_0‖, Euclidean over the parameters the distance is taken over."""
        return self._metadata.origin_norm

    @property
    def parameter_specs(self) -> dict[str, list[list[Any]]]:
        """Names, shapes and types of the measured parameters: equal where distances can be compared."""
        return {"parameters": [[spec.name, list(spec.shape), spec.dtype] for spec in self._metadata.measured]}

    @property
    def snapshot_dtype(self) -> str | None:
        """The type that the weights of snapshots were rounded to, such as `bfloat16`; None where they are exact."""
        return self._metadata.snapshot.dtype

    @property
    def weight_count(self) -> int:
        """The number of weights the distance is taken over."""
        return sum(spec.size for spec in self._metadata.measured)

    @property
    def quantities(self) -> list[str]:
        """The quantities recorded at every step, "distance" first; "angle" follows from distance and norm."""
        return list(self._metadata.quantities)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The measured parameters by the column of `layers` that they are in: each alone, unless grouped."""
        groups = self._metadata.groups
        return {name: list(members) for name, members in zip(groups.names, groups.members, strict=True)}

    @property
    def origins(self) -> list[int]:
        """The steps that distances were measured from, 0 first."""
        return [0, *self._metadata.origins]

    @property
    def events(self) -> list[Event]:
        """What happened, in order."""
        return [*self._commit.events, *self._uncommitted.events]

    @property
    def drops(self) -> list[Event]:
        """The learning-rate drops; an event's step is the number of updates made before the new rate."""
        return [event for event in self.events if event.name == LR_DROP]

    @property
    def phase_ends(self) -> list[int]:
        """The updates after which the noise of one fell at once: the rate dropped, or the batch grew in its place."""
        return sorted({event.step for event in self.events if event.name in (LR_DROP, BATCH_GROWTH)})

    @property
    def warnings(self) -> list[str]:
        """What the recorder saw that a reader of the distances has to know, in order; a sentence each."""
        reported = [(event.step, str(event.details[WARNING])) for event in self.events if WARNING in event.details]
        return [*self._contradictions(), *(f"update {step}: {printable(text)}" for step, text in reported)]

    def _contradictions(self) -> list[str]:
        """Name what the configuration alone says of SGD's momentum; the decay may be in the loss."""
        config, had = self._metadata.config, self._metadata.optimizer
        names = ("momentum", "nesterov", "dampening") if had.get("optimizer") == "sgd" else ()
        return [
            f"the configuration says {name} = {printable(str(config[name]))}, the optimizer had {had[name]}; where"
            " none is given, the configuration's is taken"
            for name in names
            if name in config and name in had and config[name] is not None and config[name] != had[name]
        ]
