"""Start a training from weights that another run recorded."""

from torch import nn

from train.configs.warm_start_source import WarmStartSource
from train.errors import ConfigError
from trajectory import Run


def warm_start(model: nn.Module, source: str) -> None:
    """Load a recorded run's weights and buffers into a model, in place.

    Args:
        model: the model.
        source: RUN, for the run's last snapshot, RUN@STEP or RUN@Nepochs.

    Raises:
        StoreError: if there is no such run, or no snapshot at that step.
        ConfigError: if the run has no snapshot, or is of another network.
    """
    named = WarmStartSource.parse(source)
    run = Run(named.run)
    there, here = run.state_dict(named.step_in(run)), model.state_dict()
    shapes = [{name: tuple(tensor.shape) for name, tensor in state.items()} for state in (there, here)]
    for name in sorted(shapes[0].keys() | shapes[1].keys()):
        was, expected = (shape.get(name, "none") for shape in shapes)
        if was != expected:
            raise ConfigError(
                f"{named.run}: is of another network: {name} is {was} there, {expected} here; start from its own"
            )
    model.load_state_dict(there)
