"""The networks of the experiments (Hoffer, Hubara, Soudry 2017, arXiv 1705.08741).

Those of `networks` are the papers' that introduced them. Linear layers start as PyTorch's do by default: weights and
biases uniform in ±1/√(fan-in). Convolutions start with He's normal weights, variance 2/fan-out (He et al. 2015, arXiv
1502.01852), in every network there. The authors of the paper start only their two residual networks so; with the
protocol "published" four networks are those of their code (`published`). Batch-norm scales start at 1, shifts at 0.
The caller seeds the global generator (`torch.manual_seed`) to fix the weights.
"""

from collections.abc import Callable
from functools import partial
from math import prod

from torch import nn

from train.errors import ConfigError
from train.models import published
from train.models.networks import alexnet, c1, f1, resnet, vgg, wide_resnet

__all__ = ["NETWORKS", "PUBLISHED", "alexnet", "c1", "f1", "resnet", "vgg", "wide_resnet"]

Builder = Callable[[tuple[int, ...], int], nn.Module]
"""Builds a network for images (C, H, W) and a number of classes."""


def _for_images(shape: tuple[int, ...], network: Callable[[int], nn.Module]) -> Builder:
    def build(image: tuple[int, ...], classes: int) -> nn.Module:
        if image != shape:
            got, expected = (" × ".join(map(str, s)) for s in (image, shape))
            raise ConfigError(f"the data set's images are {got}, the network expects {expected}; choose f1")
        return network(classes)

    return build


_CIFAR, _IMAGENET = (3, 32, 32), (3, 224, 224)
NETWORKS: dict[str, Builder] = {
    "f1": lambda image, classes: f1(prod(image), classes),
    "f1-small": lambda image, classes: f1(prod(image), classes, width=64, depth=3),
    "c1": _for_images(_CIFAR, c1),
    "vgg": _for_images(_CIFAR, vgg),
    "resnet44": _for_images(_CIFAR, partial(resnet, 44)),
    "wrn16-4": _for_images(_CIFAR, partial(wide_resnet, 16, 4)),
    "alexnet": _for_images(_IMAGENET, alexnet),
}
PUBLISHED: dict[str, Builder] = {
    **NETWORKS,
    "c1": _for_images(_CIFAR, published.c1),
    "resnet44": _for_images(_CIFAR, published.resnet44),
    "wrn16-4": _for_images(_CIFAR, published.wide_resnet16),
    "alexnet": _for_images(_IMAGENET, published.alexnet),
}
"""By name; those of the published code where it has them."""
