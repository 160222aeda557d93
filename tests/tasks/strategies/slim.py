"""Every torchvision family as a small network whose layers have the family's own names."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial

import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.resnet import BasicBlock
from torchvision.models.swin_transformer import (
    PatchMerging,
    PatchMergingV2,
    SwinTransformerBlock,
    SwinTransformerBlockV2,
)

from tasks.backbones import catalogue
from tasks.backbones.architecture import Architecture

WIDTH = 16


def find(name: str) -> Architecture:
    """Return an architecture of a torchvision family, slim where the family's smallest member is large."""
    architecture = catalogue.find(name)
    return replace(architecture, build=lambda size: deepcopy(_built(name, size)))


@cache
def _built(name: str, size: int) -> nn.Module:
    """Return a network that answers as a trained one does: its statistics fit its activations, its logits differ."""
    torch.manual_seed(0)
    architecture = catalogue.find(name)
    model = SLIM[name](size) if name in SLIM else architecture.build(size)
    with torch.no_grad():
        model.get_submodule(architecture.head).weight.normal_(std=0.1)  # type: ignore[operator, union-attr]
        for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.momentum = None  # an average over all batches
        model.train()(torch.randn(8, 3, size, size))
    return model


def _narrow_classifier(name: str, size: int) -> nn.Module:
    model: nn.Module = models.get_model(name, weights=None)
    first, second, third = (i for i, layer in enumerate(model.classifier) if isinstance(layer, nn.Linear))  # type: ignore[union-attr, arg-type, var-annotated]
    model.classifier[first] = nn.Linear(model.classifier[first].in_features, WIDTH)  # type: ignore[index, union-attr, operator]
    model.classifier[second] = nn.Linear(WIDTH, WIDTH)  # type: ignore[index, operator]
    model.classifier[third] = nn.Linear(WIDTH, 1000)  # type: ignore[index, operator]
    return model


def _convnext(size: int) -> nn.Module:
    widths = (WIDTH, WIDTH, 2 * WIDTH, 2 * WIDTH)
    return models.ConvNeXt([CNBlockConfig(a, b, 1) for a, b in zip(widths, (*widths[1:], None), strict=True)])


def _densenet(size: int) -> nn.Module:
    return models.DenseNet(growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=WIDTH)


def _efficientnet_v2(size: int) -> nn.Module:
    settings = [
        FusedMBConvConfig(1, 3, 1, 16, 16, 1),
        FusedMBConvConfig(2, 3, 2, 16, 16, 1),
        MBConvConfig(2, 3, 2, 16, 24, 1),
        MBConvConfig(2, 3, 2, 24, 32, 1),
    ]
    return models.EfficientNet(settings, dropout=0.2, last_channel=64)


def _maxvit(size: int) -> nn.Module:
    return models.MaxVit((size, size), WIDTH, 2, [WIDTH, 2 * WIDTH], [1, 1], 8, stochastic_depth_prob=0.1)


def _resnet(size: int) -> nn.Module:
    return models.ResNet(BasicBlock, [1, 1, 1, 1])


def _swin(second: bool, size: int) -> nn.Module:
    return models.SwinTransformer(
        [4, 4], WIDTH, [1, 1, 1, 1], [1, 2, 2, 4], [2, 2],
        block=SwinTransformerBlockV2 if second else SwinTransformerBlock,
        downsample_layer=PatchMergingV2 if second else PatchMerging,
    )  # fmt: skip


def _vit(size: int) -> nn.Module:
    return models.VisionTransformer(size, 16, 2, 2, WIDTH, 2 * WIDTH)


SLIM: dict[str, Callable[[int], nn.Module]] = {
    "alexnet": partial(_narrow_classifier, "alexnet"),
    "convnext_tiny": _convnext,
    "densenet121": _densenet,
    "efficientnet_v2_s": _efficientnet_v2,
    "efficientnet_v2_l": _efficientnet_v2,
    "maxvit_t": _maxvit,
    "resnet18": _resnet,
    "swin_t": partial(_swin, False),
    "swin_v2_t": partial(_swin, True),
    "vgg11_bn": partial(_narrow_classifier, "vgg11_bn"),
    "vit_b_16": _vit,
}
