import pytest
import torch
from torch import nn

from train.errors import ConfigError
from train.models import NETWORKS, f1

CIFAR = (3, 32, 32)
IMAGES = {"f1": (1, 28, 28), "f1-small": (1, 8, 8), "alexnet": (3, 224, 224)}  # the others': CIFAR


def parameters(model: nn.Module, *kinds: type[nn.Module]) -> int:
    """Parameters of the layers of these kinds; of the whole model if none is given."""
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)] if kinds else [model]
    return sum(p.numel() for layer in layers for p in layer.parameters())


def test_f1_has_the_published_number_of_parameters():
    # 784 → 5 × 512 → 10 with a scale and a shift for each hidden unit: "1.46 M parameters with batch norm"
    formula = (784 + 1) * 512 + 4 * (512 + 1) * 512 + 5 * 2 * 512 + (512 + 1) * 10
    assert parameters(f1(784, 10)) == parameters(NETWORKS["f1"]((1, 28, 28), 10)) == formula == 1_462_794


def test_f1_is_five_times_linear_norm_relu():
    kinds = [type(layer).__name__ for layer in f1(784, 10)]
    assert kinds == ["Flatten"] + ["Linear", "BatchNorm1d", "ReLU"] * 5 + ["Linear"]


def test_c1_and_c3_count_as_their_description_does():
    convolutions = 25 * 3 * 64 + 25 * 64 * 64
    dense = 64 * 7 * 7 * 384 + 384 * 192
    norms = 2 * (64 + 64 + 384 + 192)
    for classes in (10, 100):
        assert parameters(NETWORKS["c1"](CIFAR, classes)) == convolutions + dense + norms + 193 * classes


def test_resnet44_has_its_published_size():
    model = NETWORKS["resnet44"](CIFAR, 10)
    assert round(parameters(model) / 1e6, 2) == 0.66  # He et al. 2016, table 6
    assert sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in model.modules()) == 44
    # stem, n = 7 blocks of two convolutions a stage, norms, and the classifier; shortcuts A add nothing
    formula = 9 * 3 * 16 + 2 * 16 + 65 * 10
    for width, before in ((16, 16), (32, 16), (64, 32)):
        formula += 9 * width * (before + 13 * width) + 14 * 2 * width
    assert parameters(model) == formula


def test_wrn16_4_has_its_published_size():
    model = NETWORKS["wrn16-4"](CIFAR, 10)
    assert 2.7e6 <= parameters(model) < 2.8e6  # Zagoruyko & Komodakis 2016: 2.7 M
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 16  # 6n + 4 with n = 2: the stem, twelve, and three projections
    assert {m.out_channels for m in convolutions} == {16, 64, 128, 256}


def test_vgg_has_the_convolutions_of_configuration_d():
    model = NETWORKS["vgg"](CIFAR, 10)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 13
    # VGG16 as published, 138,357,544 parameters, less its dense layers and its convolutions' 4,224 biases
    dense = (25_088 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert parameters(model, nn.Conv2d) == 138_357_544 - dense - 4224
    assert parameters(model, nn.Linear) == 512 * 512 + 513 * 10


def test_alexnet_has_its_published_size_beside_batch_norm():
    model = NETWORKS["alexnet"]((3, 224, 224), 1000)
    assert parameters(model, nn.Conv2d, nn.Linear) == 61_100_840  # one column, Krizhevsky 2014


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_learns(name):
    image = IMAGES.get(name, CIFAR)
    model = NETWORKS[name](image, 10)
    logits = model(torch.randn(4, *image))
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"alexnet", "vgg"}))  # those two are large, and built alike
def test_a_seed_fixes_the_weights(name):
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(NETWORKS[name](IMAGES.get(name, CIFAR), 10).parameters())

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_convolutions_start_with_hes_variance():
    torch.manual_seed(0)
    model = NETWORKS["vgg"](CIFAR, 10)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            weight, fan_out = layer.weight.detach(), layer.out_channels * 9
            # relative std of a variance from n normal draws: √(2/n); four of them
            tolerance = 4 * (2 / weight.numel()) ** 0.5
            assert float(weight.var()) == pytest.approx(2 / fan_out, rel=tolerance)


def test_a_network_for_other_images_is_refused():
    with pytest.raises(ConfigError, match="images are 1 × 28 × 28, the network expects 3 × 32 × 32"):
        NETWORKS["c1"]((1, 28, 28), 10)
