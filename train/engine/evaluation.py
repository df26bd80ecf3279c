"""How well a network does on the test set."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.data.images import Images


@torch.no_grad()
def evaluate(model: nn.Module, data: Images) -> tuple[Tensor, Tensor]:
    """Evaluate a network on the test set.

    The random state and every module's training flag stay as they were.

    Args:
        model: the network.
        data: the data set, as `train.data.images.load` gives it.

    Returns:
        The fraction of the test set that is misclassified, and its mean loss in nats, as tensors on the device.

    Examples:
        >>> from train import evaluate
        >>> from train.data.images import load
        >>> from train.models import f1
        >>> error, loss = evaluate(f1(in_features=64, classes=10), load("digits"))
        >>> 0.5 < float(error) < 1  # an untrained network
        True
    """
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    count, wrong, loss = 0, torch.zeros(()), torch.zeros(())
    for x, y in data.test_batches():
        logits = model(x)
        count += len(y)
        wrong = wrong.to(x.device) + (logits.argmax(1) != y).sum()
        loss = loss.to(x.device) + F.cross_entropy(logits, y, reduction="sum")
    for module, training in flags:
        module.training = training
    return wrong / count, loss / count
