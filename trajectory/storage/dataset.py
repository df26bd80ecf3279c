"""A run as one xarray Dataset."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trajectory.schema.layout import DIMENSIONS
from trajectory.storage.table_reader import TableReader

if TYPE_CHECKING:
    import xarray


def to_dataset(
    table: TableReader, attributes: Mapping[str, str], described: Mapping[str, Mapping[str, Any]]
) -> "xarray.Dataset":
    """Return what was recorded and logged in one Dataset over `step`, NaN where one of the two is absent.

    Args:
        table: reads the run.
        attributes: the Dataset's attributes.
        described: the attributes of its variables, by name.

    Returns:
        The Dataset; a metric with the name of a recorded quantity is called `metrics/<name>` there.
    """
    import xarray

    metadata = table.metadata
    values = {name: (DIMENSIONS[name], table.rows(name)) for name in table.names}
    if "norm" in metadata.quantities:
        values["angle"] = (DIMENSIONS["norm"], table.total("angle").to_numpy())
        values["layer_angle"] = (DIMENSIONS["layer_norm"], table.layers("angle").to_numpy())
    distances = xarray.Dataset(
        values,
        coords={
            "step": table.steps.to_numpy(),
            "parameter": list(metadata.groups.names),
            "origin": list(metadata.origins),
        },
        attrs=dict(attributes),
    )
    for name, attrs in described.items():
        if name in distances:
            distances[name].attrs = dict(attrs)
    taken = distances.variables
    metrics = xarray.Dataset(
        {
            f"metrics/{name}" if name in taken else name: ("step", column.to_numpy())
            for name, column in table.metrics.items()
        },
        coords={"step": table.metrics.index.to_numpy()},
    )
    return xarray.merge([distances, metrics], join="outer", combine_attrs="override")
