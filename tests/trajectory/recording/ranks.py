"""Runs cases of rank_cases.py in processes of their own: `python ranks.py RANKS FOLDER CASE...`.

The case `kill`, the last one, is two runs that each lose a rank. Exits with 1 if an assertion fails on a rank.
"""

import os
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import rank_cases
import torch
import torch.distributed as dist

from trajectory.measure.observables import Observables


def spawn(size, folder, *cases):
    """Forks ranks that run `cases`; returns their process ids."""
    torch.optim.SGD([torch.zeros(1)])  # imports what torch imports late, and
    Observables([torch.zeros(1)])  # loads the kernel, once for all
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=size)
                for case in cases:
                    case(folder)
                dist.barrier()
                dist.destroy_process_group()
                status = 0
            except Exception:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)
        children.append(child)
    return children


def together(size, folder, *cases):
    """Runs `cases` on `size` ranks; exits with 1 if a rank does."""
    children = spawn(size, folder, *cases)
    failed = [os.waitpid(child, 0)[1] for child in children]
    if any(failed):
        sys.exit(1)


def killed(victim, folder):
    """Kills one of two ranks that train; the other must end by itself."""
    children = spawn(2, folder, rank_cases.endless)
    until = time.monotonic() + 1200
    while not all((folder / f"flushed.{rank}").exists() for rank in (0, 1)):
        assert time.monotonic() < until, "the ranks did not start"
        assert os.waitpid(-1, os.WNOHANG)[0] == 0, "a rank has ended by itself"
        time.sleep(0.05)
    os.kill(children[victim], signal.SIGKILL)
    os.waitpid(children[victim], 0)
    assert os.waitpid(children[1 - victim], 0)[1] != 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("error", module="trajectory")
    ranks, folder, cases = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    together(ranks, folder, *(getattr(rank_cases, name) for name in cases if name != "kill"))
    for victim in (1, 0) if "kill" in cases else ():
        (folder / str(victim)).mkdir()
        killed(victim, folder / str(victim))
