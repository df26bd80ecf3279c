"""Published numbers that a table of runs is compared with."""

# Validation accuracy in %, by (network, data set) and method. Hoffer, Hubara, Soudry 2017 (arXiv 1705.08741), tables
# 1 and 2: SB is batch 128 (AlexNet: 256), the others 4096; every method adds to the one before it.
METHODS = ("SB", "LB", "+LR", "+GBN", "+RA")
_ACCURACY = {
    ("f1", "mnist"): (98.27, 97.05, 97.55, 97.60, 98.53),
    ("c1", "cifar10"): (87.80, 83.95, 86.15, 86.4, 88.20),
    ("resnet44", "cifar10"): (92.83, 86.10, 89.30, 90.50, 93.07),
    ("vgg", "cifar10"): (92.30, 84.1, 88.6, 91.50, 93.03),
    ("c1", "cifar100"): (61.25, 51.50, 57.38, 57.5, 63.20),  # which the paper calls C3
    ("wrn16-4", "cifar100"): (73.70, 68.15, 69.05, 71.20, 73.57),
    ("alexnet", "imagenet"): (57.10, 41.23, 53.25, 54.92, 59.5),
}
ACCURACY: dict[tuple[str, str], dict[str, float]] = {
    experiment: dict(zip(METHODS, row, strict=True)) for experiment, row in _ACCURACY.items()
}
