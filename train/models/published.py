"""The networks as the paper's published code has them, where they are not those of its text.

Read from the code (github.com/eladhoffer/bigBatch, commit 0c69f28) and held to its numbers of parameters. In C1, C3
and AlexNet pooling comes before batch norm, no layer but the last has a bias, and weights start as PyTorch's do. Both
residual networks activate after the sum, project by 1 × 1 convolutions with batch norm, and start with He's normal
weights, variance 2/fan-out; the wide one begins with 64 channels.
"""

import torch
from torch import Tensor, nn

from train.models.networks import he_normal, pool_and_classify


def c1(classes: int) -> nn.Sequential:
    """Build C1 (10 classes) or C3 (100).

    Args:
        classes: outputs.

    Returns:
        The network, for images (B, 3, 32, 32).
    """
    return nn.Sequential(
        *_conv_pool_norm_relu(3, 64),
        *_conv_pool_norm_relu(64, 64),
        nn.Flatten(),
        *_dense_dropout(64 * 7 * 7, 384),
        *_dense_dropout(384, 192),
        nn.Linear(192, classes),
    )


def resnet44(classes: int) -> nn.Sequential:
    """Build ResNet44: 661,338 parameters with 10 classes.

    Args:
        classes: outputs.

    Returns:
        The network, for images (B, 3, 32, 32).
    """
    return _residual(depth=44, factor=1, classes=classes)


def wide_resnet16(classes: int) -> nn.Sequential:
    """Build WRN16-4: 2,800,804 parameters with 100 classes.

    Args:
        classes: outputs.

    Returns:
        The network, for images (B, 3, 32, 32).
    """
    return _residual(depth=16, factor=4, classes=classes)


def alexnet(classes: int) -> nn.Sequential:
    """Build AlexNet: 61,110,184 parameters with 1000 classes.

    Args:
        classes: outputs.

    Returns:
        The network, for images (B, 3, 224, 224).
    """
    layers: list[nn.Module] = []
    for channels, width, kernel, stride, padding, pooled in (
        (3, 64, 11, 4, 2, True),
        (64, 192, 5, 1, 2, True),
        (192, 384, 3, 1, 1, False),
        (384, 256, 3, 1, 1, False),
        (256, 256, 3, 1, 1, True),
    ):
        layers.append(nn.Conv2d(channels, width, kernel, stride, padding, bias=False))
        layers += [nn.MaxPool2d(3, 2)] if pooled else []
        first = channels == 3  # batch norm comes before the ReLU here alone
        layers += [nn.BatchNorm2d(width), nn.ReLU()] if first else [nn.ReLU(), nn.BatchNorm2d(width)]
    dense = [*_dense_dropout(256 * 6 * 6, 4096), *_dense_dropout(4096, 4096)]
    return nn.Sequential(*layers, nn.Flatten(), *dense, nn.Linear(4096, classes))


class _Block(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut, which projects where the width grows."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        projects = channels != width
        self.shortcut = (
            nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            if projects
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _residual(depth: int, factor: int, classes: int) -> nn.Sequential:
    channels = 16 * factor
    stem = [nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    blocks = []
    for width in (16 * factor, 32 * factor, 64 * factor):
        for _ in range((depth - 2) // 6):
            blocks.append(_Block(channels, width, stride=1 if channels == width else 2))
            channels = width
    return he_normal(nn.Sequential(*stem, *blocks, *pool_and_classify(channels, classes)))


def _conv_pool_norm_relu(channels: int, width: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, 5, padding=2, bias=False)
    return [convolution, nn.MaxPool2d(3, 2), nn.BatchNorm2d(width), nn.ReLU()]


def _dense_dropout(fan_in: int, width: int) -> list[nn.Module]:
    return [nn.Linear(fan_in, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.5)]
