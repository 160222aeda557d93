"""Every torchvision family as a small network whose layers have the family's own names."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import nn
from torchvision import models
from torchvision.models import inception
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig
from torchvision.models.googlenet import Inception, InceptionAux
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import BasicBlock
from torchvision.models.swin_transformer import (
    PatchMerging,
    PatchMergingV2,
    SwinTransformerBlock,
    SwinTransformerBlockV2,
)
from torchvision.models.vgg import make_layers

from tasks.backbones import catalogue
from tasks.backbones.architecture import Architecture, Part

WIDTH = 16


def find(name: str) -> Architecture:
    """Return an architecture of a torchvision family, slim where the family's smallest member is large."""
    architecture = replace(catalogue.find(name), build=lambda size: deepcopy(_built(name, size)))
    if name == "inception_v3":  # its auxiliary classifier needs large images; GoogLeNet's stand for both
        return replace(
            architecture, smallest=75, auxiliary=(), auxiliary_weight=0.0, split=_without_auxiliary(architecture)
        )
    return architecture


def _without_auxiliary(architecture: Architecture) -> Callable[[nn.Module], list[Part]]:
    return lambda model: [part for part in architecture.split(model) if part.name != "aux"]


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


def _alexnet(size: int) -> nn.Module:
    return _with_narrow_classifier(models.AlexNet())


def _vgg(size: int) -> nn.Module:
    return _with_narrow_classifier(
        models.VGG(make_layers([16, "M", 16, "M", 32, "M", 32, "M", 32, "M"], batch_norm=True))
    )


def _with_narrow_classifier(model: models.AlexNet | models.VGG) -> nn.Module:
    width = next(layer.out_channels for layer in reversed(model.features) if isinstance(layer, nn.Conv2d))
    cells = model.avgpool.output_size[0] * model.avgpool.output_size[1]  # type: ignore[index, operator]
    linear = [place for place, layer in enumerate(model.classifier) if isinstance(layer, nn.Linear)]
    sizes = ((width * cells, WIDTH), (WIDTH, WIDTH), (WIDTH, 1000))
    for place, (inputs, outputs) in zip(linear, sizes, strict=True):
        model.classifier[place] = nn.Linear(int(inputs), outputs)
    return model


class _ThinConvolution(inception.BasicConv2d):
    """Large kernels in as many groups as there can be."""

    def __init__(self, inputs: int, outputs: int, **options: Any) -> None:
        if options["kernel_size"] != 1:
            options["groups"] = math.gcd(inputs, outputs)
        super().__init__(inputs, outputs, **options)


def _inception(size: int) -> nn.Module:
    blocks = [
        inception.InceptionA,
        inception.InceptionB,
        inception.InceptionC,
        inception.InceptionD,
        inception.InceptionE,
    ]
    thin = [partial(block, conv_block=_ThinConvolution) for block in blocks]
    return models.Inception3(
        aux_logits=False, init_weights=False, inception_blocks=[_ThinConvolution, *thin, inception.InceptionAux]
    )


def _googlenet(size: int) -> nn.Module:
    blocks = [partial(block, conv_block=_ThinConvolution) for block in (Inception, InceptionAux)]
    return models.GoogLeNet(init_weights=False, blocks=[_ThinConvolution, *blocks])


def _convnext(size: int) -> nn.Module:
    widths = (WIDTH, WIDTH, 2 * WIDTH, 2 * WIDTH)
    return models.ConvNeXt([CNBlockConfig(a, b, 1) for a, b in zip(widths, (*widths[1:], None), strict=True)])


def _densenet(size: int) -> nn.Module:
    return models.DenseNet(growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=WIDTH)


def _efficientnet(early: type[MBConvConfig | FusedMBConvConfig], size: int) -> nn.Module:
    settings = [
        early(1, 3, 1, 16, 16, 1),
        early(2, 3, 2, 16, 16, 1),
        MBConvConfig(2, 3, 2, 16, 24, 1),
        MBConvConfig(2, 5, 2, 24, 32, 1),
    ]
    return models.EfficientNet(settings, dropout=0.2, last_channel=64)


def _mobilenet_v2(size: int) -> nn.Module:
    return models.MobileNetV2(
        inverted_residual_setting=[[1, 16, 1, 1], [2, 16, 2, 2], [2, 24, 1, 2], [2, 32, 1, 2]], width_mult=0.5
    )


def _mobilenet_v3(size: int) -> nn.Module:
    settings = [
        InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1),
        InvertedResidualConfig(16, 3, 32, 24, False, "RE", 2, 1, 1),
        InvertedResidualConfig(24, 5, 48, 32, True, "HS", 2, 1, 1),
    ]
    return models.MobileNetV3(settings, 64)


def _regnet(size: int) -> nn.Module:
    return models.RegNet(BlockParams.from_init_params(4, 16, 16, 2.0, 8, se_ratio=0.25))


def _shufflenet(size: int) -> nn.Module:
    return models.ShuffleNetV2([2, 2, 2], [16, 16, 32, 64, 128])


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
    "alexnet": _alexnet,
    "convnext_tiny": _convnext,
    "densenet121": _densenet,
    "efficientnet_b0": partial(_efficientnet, MBConvConfig),
    "efficientnet_v2_s": partial(_efficientnet, FusedMBConvConfig),
    "efficientnet_v2_l": partial(_efficientnet, FusedMBConvConfig),
    "googlenet": _googlenet,
    "inception_v3": _inception,
    "maxvit_t": _maxvit,
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3_small": _mobilenet_v3,
    "regnet_y_400mf": _regnet,
    "resnet18": _resnet,
    "shufflenet_v2_x0_5": _shufflenet,
    "swin_t": partial(_swin, False),
    "swin_v2_t": partial(_swin, True),
    "vgg11_bn": _vgg,
    "vit_b_16": _vit,
}
