"""Where the bytes of a run's store lie: what a folder and any other Zarr store have in common.

A commit replaces the root's metadata in one step. A folder does so by renaming a file, once all that the new metadata
speak of is on the disk; object stores put an object as a whole or not at all.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from zarr.abc.store import Store

from trajectory.errors import StoreError, first_line
from trajectory.storage.journal import Journal
from trajectory.storage.lock import RunLock


class Backend(ABC):
    """The files or objects of one store. A key is a path within it, with `/`.

    Attributes:
        path: names the store to people, as it was given.
        root: what Zarr opens; a folder's whole path, which a change of the working directory leaves as it is.
    """

    path: Path | str
    root: Path | Store

    @property
    @abstractmethod
    def writable(self) -> Store:
        """What Zarr writes to."""

    @property
    def location(self) -> Path | str:
        """What opens the store again: a folder's whole path; otherwise `path`."""
        return self.root if isinstance(self.root, Path) else self.path

    @abstractmethod
    def exists(self) -> bool:
        """Return whether anything is there, an empty folder included."""

    @abstractmethod
    def is_free(self) -> bool:
        """Return whether a store can be made there without removing anything."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the keys of all files or objects."""

    @abstractmethod
    def holds(self, key: str) -> bool:
        """Return whether there is a file or object.

        Args:
            key: its key.

        Returns:
            True if it is there, or if that cannot be known.
        """

    @abstractmethod
    def sizes(self, keys: Sequence[str]) -> list[int | None]:
        """Return how long files or objects are.

        Args:
            keys: their keys.

        Returns:
            The bytes of each, None where there is no such file or object.

        Raises:
            OSError: it cannot be known.
        """

    @abstractmethod
    def ends(self, keys: Sequence[str], count: int) -> list[bytes | None]:
        """Read the last bytes of files or objects.

        Args:
            keys: their keys.
            count: how many bytes.

        Returns:
            The bytes of each, None where there is no such file or object.

        Raises:
            OSError: one cannot be read.
        """

    @abstractmethod
    def stamp(self, key: str) -> object:
        """Return what changes if a file is replaced.

        Args:
            key: its key.

        Returns:
            A value to compare; None where only reading the object tells.
        """

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Read a file or object.

        Args:
            key: its key.

        Returns:
            All its bytes.

        Raises:
            FileNotFoundError: it is not there.
            OSError: it cannot be read.
        """

    @abstractmethod
    def replace(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Write a whole file or object in one step: readers see the old one or the new one.

        Not even a power cut can show the new one without what was written before, snapshots apart.

        Args:
            key: its key.
            data: all its bytes.
            durable: whether no power cut can bring the old one back either.
        """

    @abstractmethod
    def sync_names(self) -> None:
        """Wait until no power cut can take back the names of what was written, snapshots apart."""

    @abstractmethod
    def sync(self) -> None:
        """Wait until no power cut can take back what was written, journals apart."""

    @abstractmethod
    def remove(self, keys: Iterable[str]) -> None:
        """Remove files or objects, if they exist, and the folders that are empty then.

        Args:
            keys: their keys.
        """

    @abstractmethod
    def make(self) -> None:
        """Make the folder, with its parents, if it is not there."""

    @abstractmethod
    def clear(self) -> None:
        """Remove everything but the lock; if that is cut short, what is left counts as a store being made."""

    @abstractmethod
    def refuse_links(self) -> None:
        """Check that no symbolic link in the store leads what is written out of it.

        Raises:
            StoreError: there is one.
        """

    def unlock(self) -> None:  # noqa: B027 (nothing, where nothing can be locked)
        """Let other recorders in again, if `lock` has kept them off."""

    @abstractmethod
    def lock(self) -> RunLock | None:
        """Keep other recorders off until the lock is released.

        Returns:
            The lock, or None where nothing can be locked.

        Raises:
            StoreError: another recorder holds it, or the place cannot be written to.
        """

    @abstractmethod
    def journal(self, generation: int, *, append: bool = False) -> Journal:
        """Open a journal for writing.

        Args:
            generation: its number.
            append: write behind the last intact record of the existing journal, instead of beginning a new one.

        Returns:
            The journal.
        """

    @abstractmethod
    def read_journal(self, generation: int) -> bytes:
        """Read a journal.

        Args:
            generation: its number.

        Returns:
            Its records, the last of which may be torn.

        Raises:
            FileNotFoundError: it is not there.
        """


@contextmanager
def writing_on(backend: Backend) -> Iterator[None]:
    """Say in words of a store that it cannot be written: the disk is full, or a file may not be touched.

    Args:
        backend: where the store lies.

    Yields:
        Nothing.

    Raises:
        StoreError: the body raised an OSError.
    """
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StoreError(
            f"{backend.path}: cannot be written on: {first_line(error)}{where}; nothing recorded is lost: try again"
            " when that has changed"
        ) from error
