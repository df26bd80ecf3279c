"""`ultraslow import`: a run made of checkpoints."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ultraslow.cli.console import progress_bar
from ultraslow.cli.info import info


def import_(
    checkpoint: Annotated[Path, Positional, arg(metavar="CHECKPOINT")],
    checkpoints: Annotated[tuple[Path, ...], Positional, arg(metavar="[CHECKPOINT ...]", help_behavior_hint="")] = (),
    *,
    out: Annotated[str, arg(metavar="RUN")],
    steps: Annotated[tuple[int, ...], arg(metavar="T [T ...]", help_behavior_hint="")] = (),
    key: Annotated[str | None, arg(metavar="KEY", help_behavior_hint="")] = None,
    no_snapshots: bool = False,
    sketch: Annotated[int, arg(metavar="K")] = 0,
    overwrite: bool = False,
) -> None:
    """Make a run of checkpoints.

    The earliest is w_0, and t counts from it. Every other one is a row: distance and norm, by parameter too. A
    checkpoint is a file that torch.save wrote (.pt, .pth, .pth.tar, .bin, .ckpt), a .safetensors file, or a folder:
    of model.safetensors or pytorch_model.bin, of one file of weights, or saved by torch.distributed.checkpoint.

    $ ultraslow import checkpoints/ --out runs/imported.zarr

    Args:
        checkpoint: a checkpoint, or a folder of them.
        checkpoints: further checkpoints.
        out: the run's store.
        steps: updates made at each checkpoint, in order. Default: from the names (step=1000, checkpoint-1000).
        key: where the weights are in a nested .pt file. Default: state_dict, model, ...
        no_snapshots: store distances and norms alone, and leave the weights out.
        sketch: store a sketch of K numbers for each parameter.
        overwrite: replace the run at `out`.
    """
    from trajectory.integrations.importer import import_checkpoints

    with progress_bar() as bar:
        import_checkpoints(
            [checkpoint, *checkpoints],
            out,
            steps=steps or None,
            key=key,
            snapshots=not no_snapshots,
            sketch=sketch,
            overwrite=overwrite,
            progress=lambda done, total: bar(Path(out).name, done, total),
        )
    info(out)
