"""What scripts of test_faults.py and test_resume.py share: they fork after torch has been imported, once for all."""

import os

import torch

from trajectory.measure.observables import Observables

Observables([torch.zeros(1)])  # loads the kernel, once for all as well


def child(run):
    """The process id of a copy of this process that calls `run` and ends."""
    pid = os.fork()
    if pid == 0:
        run()
        os._exit(0)
    return pid
