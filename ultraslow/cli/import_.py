"""`ultraslow import`: a run made of checkpoints."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ultraslow.cli.console import progress_bar
from ultraslow.cli.info import info


def import_(
    checkpoint: Annotated[Path, Positional, arg(metavar="CHECKPOINT")],
    checkpoints: Annotated[tuple[Path, ...], Positional, arg(metavar="[CHECKPOINT ...]")] = (),
    *,
    out: Annotated[str, arg(metavar="RUN")],
    steps: Annotated[tuple[int, ...], arg(metavar="T [T ...]")] = (),
    key: Annotated[str | None, arg(metavar="KEY")] = None,
    snapshots: bool = True,
    sketch: Annotated[int, arg(metavar="K")] = 0,
    overwrite: bool = False,
) -> None:
    """Makes a run of checkpoints: .pt files of weights alone, .safetensors, or folders of them.

    The earliest is w_0, and t counts from it. Every other one is a row: distance and norm, by parameter too.

    $ ultraslow import checkpoints/ --out runs/imported.zarr

    Args:
        checkpoint: a file or a folder.
        checkpoints: further ones.
        out: the run's store.
        steps: updates made at each checkpoint, in order; default: from the names (step=1000, checkpoint-1000).
        key: where the weights are in a nested .pt file; default: state_dict, model, ...
        snapshots: keep the weights themselves.
        sketch: keep a sketch of K numbers for each parameter instead or as well.
        overwrite: replace the run at `out`.
    """
    from trajectory.integrations.importer import import_checkpoints

    with progress_bar() as bar:
        import_checkpoints(
            [checkpoint, *checkpoints],
            out,
            steps=steps or None,
            key=key,
            snapshots=snapshots,
            sketch=sketch,
            overwrite=overwrite,
            progress=lambda done, total: bar(Path(out).name, done, total),
        )
    info(out)
