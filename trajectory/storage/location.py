"""From what a user names a store by to its backend: a folder, a URL, or a Zarr store."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from trajectory.errors import StoreError, first_line
from trajectory.storage.backend import Backend
from trajectory.storage.local_backend import LocalBackend
from trajectory.storage.zarr_backend import ZarrBackend

StoreLike = str | Path | Store
"""A run's store as users name it: a folder, a URL (`s3://bucket/run.zarr`), or a Zarr store."""


def open_backend(store: StoreLike | Backend) -> Backend:
    """Return the backend of the store that a user names; nothing is read or made yet.

    Args:
        store: a folder's path, in which a leading `~` is the home folder; a URL (`s3://bucket/run.zarr`); a Zarr
            store; or a backend, which is returned.

    Returns:
        The backend.

    Raises:
        RunNotFoundError: the path leads over a symbolic link to nothing.
        StoreError: the URL is of an unknown kind, or needs a package that is not installed.
    """
    if isinstance(store, Backend):
        return store
    if isinstance(store, LocalStore):
        return LocalBackend(Path(store.root))
    if isinstance(store, Store):
        return ZarrBackend(store, str(store))
    if isinstance(store, str) and "://" in store:
        parts = urlsplit(store)
        if parts.scheme == "file":
            from urllib.request import url2pathname  # and with it http and ssl

            return LocalBackend(Path(url2pathname(parts.path)))
        return ZarrBackend(_open_url(store), store)
    return LocalBackend(Path(os.path.expanduser(store)))


def _open_url(url: str) -> Store:
    """Open a URL by obstore where that knows its kind and is installed; by fsspec otherwise."""
    try:
        if url.partition("://")[0] in ("s3", "s3a", "gs", "az", "abfs", "abfss"):
            try:
                from obstore.store import from_url
            except ImportError:
                pass
            else:
                return ObjectStore(from_url(url))
        return FsspecStore.from_url(url)
    except Exception as error:
        raise StoreError(
            f"{url}: cannot be opened ({first_line(error)}); expected a folder, or a URL that an installed obstore "
            "or fsspec reads (pip install 'ultraslow[remote]')"
        ) from error
