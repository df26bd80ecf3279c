"""The experiments, each a named function that returns a complete `TrainConfig`.

Protocol: Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741) and, where the paper is silent, its published code.
Change a recipe with `dataclasses.replace(f1_mnist(), batch_size=4096, lr_scaling="sqrt", ghost_batch_size=128)`.
"""

from collections.abc import Callable
from dataclasses import replace

from train.configs.choices import one_of
from train.configs.config import TrainConfig


def f1_digits() -> TrainConfig:
    """Return F1 reduced to 3 layers of 64, on the digits that scikit-learn bundles: a minute on a laptop.

    A network learns the 1280 images by heart in seconds; noise on the inputs keeps its gradients alive. Batch 256
    with the √ rule, ghost batches of 16, a warm-up of 100 and regime adaptation travels as batch 16 does, some
    updates later.
    """
    return TrainConfig(
        recipe="f1-digits",
        network="f1-small",
        dataset="digits",
        batch_size=16,
        base_batch_size=16,
        lr=0.05,
        drops=((15, 0.1),),
        epochs=30,
        weight_decay=1e-5,
        input_noise=0.5,
    )


def f1_mnist() -> TrainConfig:
    """Return F1 on MNIST: learning rate .1, ÷ 10 at epochs 10, 20 and 30 of 50 (the paper's published code)."""
    return TrainConfig(
        recipe="f1-mnist",
        network="f1",
        dataset="mnist",
        batch_size=128,
        base_batch_size=128,
        lr=0.1,
        drops=((10, 0.1), (20, 0.1), (30, 0.1)),
        epochs=50,
        weight_decay=1e-4,
    )


def f1_fashion_mnist() -> TrainConfig:
    """Return F1 on Fashion-MNIST, otherwise as on MNIST."""
    return replace(f1_mnist(), recipe="f1-fashion-mnist", dataset="fashion-mnist")


def c1_cifar10() -> TrainConfig:
    """Return C1 on CIFAR-10: learning rate 1e-3, 1e-2 from epoch 60, ÷ 10 at 120 and 180 of 200 (published code).

    The code sets no momentum where the paper says it has one: .9 here, as in the other networks.
    """
    return TrainConfig(
        recipe="c1-cifar10",
        network="c1",
        dataset="cifar10",
        batch_size=128,
        base_batch_size=128,
        lr=1e-3,
        drops=((60, 10.0), (120, 0.1), (180, 0.1)),
        epochs=200,
        weight_decay=5e-4,
        augment=True,
    )


def c3_cifar100() -> TrainConfig:
    """Return C3: the network and the regime of C1, on CIFAR-100."""
    return replace(c1_cifar10(), recipe="c3-cifar100", dataset="cifar100")


def resnet44_cifar10() -> TrainConfig:
    """Return ResNet44 on CIFAR-10: learning rate .1, ÷ 10 at epochs 81, 122 and 164 of 200 (published code)."""
    return TrainConfig(
        recipe="resnet44-cifar10",
        network="resnet44",
        dataset="cifar10",
        batch_size=128,
        base_batch_size=128,
        lr=0.1,
        drops=((81, 0.1), (122, 0.1), (164, 0.1)),
        epochs=200,
        weight_decay=1e-4,
        augment=True,
    )


def vgg_cifar10() -> TrainConfig:
    """Return VGG on CIFAR-10, in the regime of ResNet44."""
    return replace(resnet44_cifar10(), recipe="vgg-cifar10", network="vgg")


def wrn16_4_cifar100() -> TrainConfig:
    """Return WRN16-4 on CIFAR-100: rate .1; .02, .004, 1e-4 from epochs 60, 120, 140 of 200 (published code)."""
    return replace(
        resnet44_cifar10(),
        recipe="wrn16-4-cifar100",
        network="wrn16-4",
        dataset="cifar100",
        drops=((60, 0.2), (120, 0.2), (140, 0.025)),
    )


def alexnet_imagenet() -> TrainConfig:
    """Return AlexNet on ImageNet: rate .01; 5e-3, 1e-3, 5e-4, 1e-4 from epochs 10, 15, 20, 25 of 30 (published code).

    Weight decay ends with epoch 15. The images are files that worker processes read (`train.data.image_folder`).
    """
    return TrainConfig(
        recipe="alexnet-imagenet",
        network="alexnet",
        dataset="imagenet",
        batch_size=256,
        base_batch_size=256,
        lr=0.01,
        drops=((10, 0.5), (15, 0.2), (20, 0.5), (25, 0.2)),
        epochs=30,
        weight_decay=5e-4,
        weight_decay_until=15,
        augment=True,
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "f1-digits": f1_digits,
    "f1-mnist": f1_mnist,
    "f1-fashion-mnist": f1_fashion_mnist,
    "c1-cifar10": c1_cifar10,
    "resnet44-cifar10": resnet44_cifar10,
    "vgg-cifar10": vgg_cifar10,
    "c3-cifar100": c3_cifar100,
    "wrn16-4-cifar100": wrn16_4_cifar100,
    "alexnet-imagenet": alexnet_imagenet,
}


def get(name: str) -> TrainConfig:
    """Return the recipe of a name.

    Args:
        name: one of `RECIPES`.

    Raises:
        ConfigError: for another name; the message names the known recipes, and the closest.
    """
    one_of("recipe", name, RECIPES)
    return RECIPES[name]()
