"""The networks, as the papers that introduced them have them (`train.models`)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def f1(in_features: int, classes: int, *, width: int = 512, depth: int = 5) -> nn.Sequential:
    """Build F1: flatten, `depth` × [linear of `width`, batch norm, ReLU], linear to the classes.

    With 28 × 28 inputs and 10 classes it has 784·512 + 4·512² + 5·(512 + 2·512) + 512·10 + 10 = 1,462,794
    parameters.

    Args:
        in_features: numbers in an image.
        classes: outputs.
        width: units in a layer.
        depth: layers before the last.

    Returns:
        The network, for images (B, ...) of `in_features` numbers each.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in in [in_features] + [width] * (depth - 1):
        layers += [nn.Linear(fan_in, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def c1(classes: int) -> nn.Sequential:
    """Build C1 (10 classes) or C3 (100): two convolutions, dense 384 and 192, dropout .5.

    Args:
        classes: outputs.

    Returns:
        The network, for images (B, 3, 32, 32).
    """
    return he_normal(
        nn.Sequential(
            *_conv_norm_relu(3, 64, 5),
            nn.MaxPool2d(3, 2),
            *_conv_norm_relu(64, 64, 5),
            nn.MaxPool2d(3, 2),  # 32 → 15 → 7
            nn.Flatten(),
            *_dense(64 * 7 * 7, 384),
            nn.Dropout(0.5),
            *_dense(384, 192),
            nn.Dropout(0.5),
            nn.Linear(192, classes),
        )
    )


def vgg(classes: int) -> nn.Sequential:
    """Build VGG: the convolutions of configuration D (Simonyan & Zisserman 2015, arXiv 1409.1556), dense 512.

    Args:
        classes: outputs.

    Returns:
        The network, for images (B, 3, 32, 32).
    """
    layers: list[nn.Module] = []
    channels = 3
    for width, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            layers += _conv_norm_relu(channels, width, 3)
            channels = width
        layers.append(nn.MaxPool2d(2))
    return he_normal(nn.Sequential(*layers, nn.Flatten(), *_dense(512, 512), nn.Linear(512, classes)))


def resnet(depth: int, classes: int) -> nn.Sequential:
    """Build a ResNet of 6n + 2 layers with shortcuts A (He et al. 2016, arXiv 1512.03385, section 4.2).

    Depth 44 and 10 classes: 658,586 parameters (theirs: 0.66 M).

    Args:
        depth: layers, 6n + 2.
        classes: outputs.

    Returns:
        The network, for images (B, 3, 32, 32).
    """
    n = (depth - 2) // 6
    assert depth == 6 * n + 2
    blocks: list[nn.Module] = []
    channels = 16
    for width in (16, 32, 64):
        for _ in range(n):
            blocks.append(_ResidualBlock(channels, width))
            channels = width
    return he_normal(nn.Sequential(*_conv_norm_relu(3, 16, 3), *blocks, *pool_and_classify(64, classes)))


def wide_resnet(depth: int, factor: int, classes: int) -> nn.Sequential:
    """Build a wide ResNet of 6n + 4 layers (Zagoruyko & Komodakis 2016, arXiv 1605.07146).

    Args:
        depth: layers, 6n + 4.
        factor: how many times as wide it is as a ResNet.
        classes: outputs.

    Returns:
        The network, for images (B, 3, 32, 32).
    """
    n = (depth - 4) // 6
    assert depth == 6 * n + 4
    blocks: list[nn.Module] = []
    channels = 16
    for width in (16 * factor, 32 * factor, 64 * factor):
        for _ in range(n):
            blocks.append(_PreActivationBlock(channels, width))
            channels = width
    end = [nn.BatchNorm2d(channels), nn.ReLU(), *pool_and_classify(channels, classes)]
    return he_normal(nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), *blocks, *end))


def alexnet(classes: int) -> nn.Sequential:
    """Build AlexNet in one column (Krizhevsky 2014, arXiv 1404.5997), with batch norm after each layer.

    Args:
        classes: outputs.

    Returns:
        The network, for images (B, 3, 224, 224).
    """
    layers: list[nn.Module] = []
    pool = nn.MaxPool2d(3, 2)
    for channels, width, kernel, stride, padding, then in (
        (3, 64, 11, 4, 2, [pool]),
        (64, 192, 5, 1, 2, [pool]),
        (192, 384, 3, 1, 1, []),
        (384, 256, 3, 1, 1, []),
        (256, 256, 3, 1, 1, [pool]),
    ):
        convolution = nn.Conv2d(channels, width, kernel, stride, padding)
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(), *then]
    for fan_in in (256 * 6 * 6, 4096):
        layers += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(fan_in, 4096), nn.BatchNorm1d(4096), nn.ReLU()]
    return he_normal(nn.Sequential(*layers, nn.Linear(4096, classes)))


class _ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut; where the width grows, height and width of the images are halved.

    Shortcut A has no parameters: it takes every second pixel, and adds channels of zeros.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.stride, self.new = (1, 0) if channels == width else (2, width - channels)
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, self.stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.new:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))
        return torch.relu(self.body(x) + shortcut)


class _PreActivationBlock(nn.Module):
    """Batch norm and ReLU before each of two 3 × 3 convolutions; a 1 × 1 convolution where the width changes."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        stride = 1 if channels in (width, 16) else 2  # the first group, after the 16 channels, keeps its size
        self.activate = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.project = None if channels == width else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = self.activate(x)
        shortcut = x if self.project is None else self.project(active)
        return self.body(active) + shortcut


def _conv_norm_relu(channels: int, width: int, kernel: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU()]


def _dense(fan_in: int, width: int) -> list[nn.Module]:
    return [nn.Linear(fan_in, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]


def pool_and_classify(channels: int, classes: int) -> list[nn.Module]:
    """Return the layers that end a residual network.

    Args:
        channels: of the images that come in.
        classes: outputs.
    """
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def he_normal(network: nn.Sequential) -> nn.Sequential:
    """Start a network's convolutions with He's normal weights, variance 2/fan-out.

    Args:
        network: the network, which is changed.

    Returns:
        The network.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network
