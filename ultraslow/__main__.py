"""`python -m ultraslow`, which is also how `torchrun -m ultraslow` starts each process."""

import os
import sys

if __name__ == "__main__":
    # Python puts the working folder first: a user's train.py there would be imported in place of our package.
    ours = os.path.dirname(os.path.dirname(__file__))
    first, working, ours = (os.path.realpath(folder) for folder in (sys.path[0], os.curdir, ours))
    if first == working != ours and not sys.flags.safe_path:
        del sys.path[0]

    from ultraslow.cli.app import main

    main()
