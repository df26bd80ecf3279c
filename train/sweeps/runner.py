"""The runs of a sweep, made where they are missing: in this process, in several, or on a Dask cluster.

What is complete is kept, what was interrupted is resumed, and a run that fails does not stop the others.
"""

from train.sweeps.executors import Executor, in_this_process
from train.sweeps.spec import Sweep
from train.sweeps.state import RunStatus, SweepState, Watch
from train.sweeps.survey import survey
from train.sweeps.task import Task
from trajectory import Run


def run_sweep(
    sweep: Sweep,
    *,
    device: str = "cpu",
    executor: Executor = in_this_process,
    overwrite: bool = False,
    watch: Watch = lambda run, status: None,
) -> dict[str, RunStatus]:
    """Make the runs of a sweep that are not complete.

    Args:
        sweep: the sweep.
        device: the device to train on.
        executor: how the runs are made: `in_this_process` (one after another), `in_processes(n)`, or
            `on_cluster(address)`.
        overwrite: replace a run that is there under another configuration, and what is matched to it.
        watch: called as watch(run, status) after each change of a run's status.

    Returns:
        Each run's status at the end, by its store's path.

    Raises:
        ConfigError: if a store holds another configuration, or a reference does not exist; before any training.
    """
    state = SweepState(sweep, watch)
    tasks = []
    for run, stored in survey(sweep, overwrite=overwrite).items():
        if stored == "done":
            state.keep(run, int(Run(run.path).metrics.index[-1]))
        else:
            tasks.append(Task(run, sweep.data_root, device, fresh=stored == "other"))
    executor(tasks, state)
    return state.statuses
