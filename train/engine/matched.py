"""Runs whose learning rate drops where a reference had travelled as far: the reference, and its scheduler.

Imported for such runs alone, since the fits that a reference may need load scipy.
"""

from torch import nn
from torch.optim import Optimizer

from analysis.matching.reference import Reference, as_reference
from analysis.matching.seeds import check_network
from train.configs.config import TrainConfig
from trajectory import Recorder
from trajectory.measure.tracked_parameters import parameter_specs
from ultraslow.large_batch.distance_matched_lr import DistanceMatchedLR


def reference_of(config: TrainConfig, model: nn.Module) -> Reference:
    """Read the reference of a matched run.

    Args:
        config: the run's configuration, with a match.
        model: the network to train.

    Returns:
        The reference.

    Raises:
        ReferenceRunError: if the runs of the match are no reference.
        DifferentNetworksError: if they are of another network.
    """
    reference = as_reference(list(config.match), origin=config.match_origin)
    check_network(reference.parameter_specs, reference.names[0], parameter_specs(model), "the network to train")
    return reference


def scheduler_of(
    config: TrainConfig, optimizer: Optimizer, recorder: Recorder, reference: Reference, warmup_steps: int
) -> DistanceMatchedLR:
    """Make the scheduler that drops the learning rate of a matched run.

    Args:
        config: the run's configuration, with a match.
        optimizer: the optimizer whose rate drops.
        recorder: the recorder of the run.
        reference: the run's reference.
        warmup_steps: updates of the warm-up, before which no distance counts.

    Returns:
        The scheduler.
    """
    return DistanceMatchedLR(
        optimizer,
        recorder,
        reference,
        gamma=config.gamma,
        min_step=max(config.min_step, warmup_steps),
        later_phases=config.later_phases,
        timeout=config.timeout,
        on_timeout=config.on_timeout,
        already_above=config.already_above,
    )
