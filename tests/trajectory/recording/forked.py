"""What scripts of tests share that fork after torch has been imported, once for all."""

import os
from pathlib import Path

import torch

from trajectory.measure.observables import Observables

Observables([torch.zeros(1)])  # loads the kernel, once for all as well


TASKS = Path("/proc/self/task")


def child(run):
    """The process id of a copy of this process that calls `run` and ends.

    A thread does not survive a fork, but what it held stays locked: a pool of one of the libraries would hang the
    child. With OMP_NUM_THREADS=1 there is none.
    """
    assert not TASKS.is_dir() or len(list(TASKS.iterdir())) == 1
    pid = os.fork()
    if pid == 0:
        run()
        os._exit(0)
    return pid
