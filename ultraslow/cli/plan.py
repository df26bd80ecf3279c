"""`ultraslow plan`: a large batch's run from a small batch's."""

from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ultraslow.cli.arguments import File, Seeds
from ultraslow.cli.console import print_json, print_values


def plan(
    reference: Annotated[str, Positional, arg(metavar="REFERENCE")],
    *,
    batch_size: Annotated[int, arg(metavar="N")],
    seeds: Seeds = (),
    at_match: Literal["drop", "grow"] = "drop",
    out: File = None,
    json: bool = False,
) -> None:
    """Plan a large batch's run from a small batch's: learning rate, ghost batch, updates, epochs, drops.

    $ ultraslow plan runs/sb-0.zarr --batch-size 4096 --out lb.toml && ultraslow train lb.toml --data-root data

    Args:
        reference: the small batch's run, with a learning-rate drop.
        batch_size: samples in an update of the large batch.
        seeds: further seeds of the reference.
        at_match: drop the rate at a match, or let the batch grow by the inverse factor in its place.
        out: also write the matched run's recipe to this TOML file, for `ultraslow train`; its comments relate its
            numbers to the table's.
        json: print one JSON document instead of a table.
    """
    from train.configs.plan import plan as plan_run
    from train.configs.toml import write_recipe

    found = plan_run([reference, *seeds], batch_size, at_match=at_match)
    if out is not None:
        write_recipe(found.recipe(), out, comments=found.comments())
    print_json(found.to_dict()) if json else print_values(found.table())
