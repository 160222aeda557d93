"""Small networks of every family with weights that answer like trained ones, though they are drawn."""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tasks.backbones import catalogue
from tasks.backbones.architecture import Architecture
from tasks.params import StrategyParams
from tasks.strategies import surgery
from tasks.strategies.surgery import Adapted
from tests.tasks.strategies import slim

SIZE = 64


def architecture(name: str) -> Architecture:
    """Return a slim architecture, or the whole of one whose layers are told apart by their names."""
    return catalogue.find(name) if name == "mobilenet_v3_small" else slim.find(name)


@cache
def weights(name: str) -> dict[str, Tensor]:
    """Return weights with biases other than zero, and with the statistics of random images; not to be changed."""
    torch.manual_seed(5)
    model = architecture(name).build(SIZE)
    for tensor in model.state_dict().values():
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand_like(tensor))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(8, 3, SIZE, SIZE))
    return model.state_dict()


def strategy(**settings: Any) -> StrategyParams:
    """Return a strategy."""
    return StrategyParams.model_validate({"train": "all"} | settings)


def adapt(name: str, channels: int = 3, classes: int = 2, **settings: Any) -> Adapted:
    """Return a network with those weights, adapted as a strategy asks for."""
    return surgery.adapt(architecture(name), weights(name), SIZE, classes, channels, strategy(**settings))


def random_images(channels: int = 3, count: int = 2) -> Tensor:
    """Return images of noise, always the same."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, SIZE, SIZE), dtype=torch.uint8, generator=generator)


def logits(adapted: Adapted, images: Tensor) -> Tensor:
    """Return a network's answer in evaluation mode."""
    with torch.inference_mode():
        answer: Tensor = adapted.model.eval()(adapted.normalisation(images))
    return answer


def assert_every_tensor_has_one_part(adapted: Adapted) -> None:
    """Fail for a parameter or buffer that is in no part or in several."""
    for name in adapted.model.state_dict():
        owners = [part.name for part in adapted.parts if part.owns(name)]
        assert len(owners) == 1, (name, owners)
