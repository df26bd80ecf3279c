"""Record how a network travels through weight space, fit the ultra-slow diffusion law, match a large batch.

Each name is imported when it is first used: `import ultraslow` needs neither torch nor matplotlib. A script of your
own may be called train.py: of the names below, `plan` alone needs the package `train`.
"""

from typing import TYPE_CHECKING

from ultraslow._packages import lazy_exports

if TYPE_CHECKING:
    from analysis import DistanceMatcher, compare, fit, fit_layers, match, predict_match, scan
    from train import plan
    from trajectory import At, Every, LogSpaced, Recorder, Run, verify
    from ultraslow._version import __version__
    from ultraslow.large_batch import (
        DistanceMatchedLR,
        GhostBatchNorm1d,
        GhostBatchNorm2d,
        convert_ghost_batch_norm,
        sqrt_lr,
    )
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "analysis": ["DistanceMatcher", "compare", "fit", "fit_layers", "match", "predict_match", "scan"],
            "train": ["plan"],
            "trajectory": ["At", "Every", "LogSpaced", "Recorder", "Run", "verify"],
            "ultraslow._version": ["__version__"],
            "ultraslow.large_batch": [
                "DistanceMatchedLR",
                "GhostBatchNorm1d",
                "GhostBatchNorm2d",
                "convert_ghost_batch_norm",
                "sqrt_lr",
            ],
        },
    )

__all__ = [
    "At",
    "DistanceMatchedLR",
    "DistanceMatcher",
    "Every",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "LogSpaced",
    "Recorder",
    "Run",
    "__version__",
    "compare",
    "convert_ghost_batch_norm",
    "fit",
    "fit_layers",
    "match",
    "plan",
    "predict_match",
    "scan",
    "sqrt_lr",
    "verify",
]


def main() -> None:
    """Run the command line on `sys.argv`, as the command `ultraslow` does; the process ends with its status."""
    from ultraslow.cli.app import main as run

    run()
