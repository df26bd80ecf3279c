"""`python -m ultraslow`, which is also how `torchrun -m ultraslow` starts each process."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts the working folder first: a user's train.py there would be imported in place of our package.
    here = os.path.realpath(os.getcwd())
    if not sys.flags.safe_path and os.path.realpath(sys.path[0]) == here and Path(__file__).parents[1] != Path(here):
        del sys.path[0]

    from ultraslow.cli.app import main

    main()
