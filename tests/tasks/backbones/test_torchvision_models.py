"""Every torchvision classification model falls into parts, from the image to the logits."""

import pytest
import torch
from torch import nn
from torchvision import models

from tasks.backbones import torchvision_families, torchvision_models
from tasks.backbones.torchvision_models import default_weights
from tasks.errors import UserError
from tests.tasks.backbones.skeletons import assert_divided, assert_runs_in_order, built, images, skeleton

NAMES = torchvision_families.model_names()
ONE_OF_EACH = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18", "shufflenet_v2_x0_5",
    "squeezenet1_0", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_parts_divide_the_network(name: str) -> None:
    """Every tensor and leaf module is in exactly one part, none is without parameters, and the head is the classifier.

    A dropout outside all parts would never drop anything.
    """
    architecture = torchvision_models.find(name)
    parts = assert_divided(architecture, skeleton(name))
    assert len(parts) >= 5
    head = skeleton(name).get_submodule(architecture.head)
    assert isinstance(head, nn.Linear | nn.Conv2d)
    assert (head.out_features if isinstance(head, nn.Linear) else head.out_channels) == 1000


@pytest.mark.parametrize("name", NAMES)
def test_parts_run_in_their_order(name: str) -> None:
    """A forward pass goes through stem, stages and head in this order and never back; the classifier comes last."""
    architecture = torchvision_models.find(name)
    assert_runs_in_order(architecture, skeleton(name), architecture.split(skeleton(name)), architecture.size)


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "mobilenet_v3_small"])
def test_real_network_answers_logits(name: str) -> None:
    """A network with real, random weights answers finite logits."""
    torch.manual_seed(0)
    model = torchvision_models.build(name).eval()
    with torch.no_grad():
        logits = model(torch.rand(1, 3, 64, 64))
    assert logits.shape == (1, 1000)
    assert logits.isfinite().all()
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())


@pytest.mark.parametrize("name", ["fcn_resnet50", "raft_small", "quantized_mobilenet_v2", "resnet1000", ""])
def test_other_models_are_no_classifiers(name: str) -> None:
    """Models for other tasks are refused, even where their names look like a family's."""
    with pytest.raises(UserError, match="is not a torchvision classification model"):
        torchvision_models.build(name)


def test_weights_are_found_by_name() -> None:
    """The entry is torchvision's, of that model and that name."""
    assert default_weights("resnet50", "IMAGENET1K_V2") is models.ResNet50_Weights.IMAGENET1K_V2
    assert default_weights("mobilenet_v2", "IMAGENET1K_V1") is models.MobileNet_V2_Weights.IMAGENET1K_V1


@pytest.mark.parametrize(
    ("name", "weights", "meant"),
    [
        ("mobilenet_v2", "IMAGENET_V2", "did you mean 'IMAGENET1K_V2'"),
        ("resnet18", "IMAGENET1K_V2", "did you mean 'IMAGENET1K_V1'"),
        ("resnet18", "random", "none"),
        ("vgg16", "IMAGENET1K_FEATURES", "neither a file nor weights of vgg16"),  # its classifier is not a number
    ],
)
def test_unknown_weights_name_the_nearest(name: str, weights: str, meant: str) -> None:
    """Weights that the model lacks, or that lack their classifier, are refused."""
    with pytest.raises(UserError, match=rf"backbone\.weights '{weights}'.*{meant}"):
        default_weights(name, weights)


# Auxiliary classifiers


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_classifiers_answer_in_training_only(name: str) -> None:
    """Each has its last layer listed; a network in training answers them besides its logits."""
    architecture = torchvision_models.find(name)
    model = built(architecture, architecture.smallest)
    assert model(images(architecture.smallest)).shape == (2, 1000)
    main, *others = model.train()(images(architecture.smallest))
    assert {answer.shape for answer in (main, *others)} == {(2, 1000)}
    assert len(others) == len(architecture.auxiliary)
    assert 0 < architecture.auxiliary_weight < 1
    auxiliary = next(part for part in architecture.split(model) if part.name == "aux")
    for last in architecture.auxiliary:
        layer = model.get_submodule(last)
        assert isinstance(layer, nn.Linear)
        assert layer.out_features == 1000
        assert auxiliary.owns(last)


def test_other_networks_have_no_auxiliary_classifiers() -> None:
    """Without auxiliary classifiers there is no part and no weight for them."""
    plain = [torchvision_models.find(name) for name in NAMES if name not in {"googlenet", "inception_v3"}]
    assert {(architecture.auxiliary, architecture.auxiliary_weight) for architecture in plain} == {((), 0.0)}


# Working sizes


@pytest.mark.parametrize("name", NAMES)
def test_size_is_that_of_the_weights(name: str) -> None:
    """The size is the one that torchvision's default weights were made for, and the network takes it."""
    architecture = torchvision_models.find(name)
    assert [architecture.size] == models.get_model_weights(name).DEFAULT.transforms().crop_size
    assert architecture.smallest <= architecture.size


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_smallest_size_works_and_smaller_ones_are_refused(name: str) -> None:
    """At the smallest size a network runs and trains; what is below it is refused in a sentence."""
    architecture = torchvision_models.find(name)
    model = built(architecture, architecture.smallest)
    assert model(images(architecture.smallest)).shape == (2, 1000)
    model.train()(images(architecture.smallest))
    with pytest.raises(UserError, match=r"data\.size .* (below|not a multiple of) \d+.*\b" + name):
        architecture.build(architecture.smallest - 1)


@pytest.mark.parametrize("name", ["alexnet", "densenet121", "squeezenet1_1", "vgg11", "convnext_tiny", "googlenet"])
def test_smallest_size_is_the_smallest(name: str) -> None:
    """One pixel less would not do."""
    architecture = torchvision_models.find(name)
    model = built(architecture, architecture.size)
    with pytest.raises((RuntimeError, ValueError)):
        model(images(architecture.smallest - 1))


def test_transformer_is_built_for_the_working_size() -> None:
    """A ViT has one position embedding for each patch of the working size, and one for its class token."""
    model = built(torchvision_models.find("vit_b_32"), 96)
    assert model.get_parameter("encoder.pos_embedding").shape[1] == 3 * 3 + 1


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 100), ("vit_h_14", 224 + 16), ("maxvit_t", 256)])
def test_size_that_patches_do_not_fill_is_refused(name: str, size: int) -> None:
    """A working size that is no multiple of the patches' or windows' is named together with theirs."""
    with pytest.raises(UserError, match=rf"data\.size {size} is not a multiple of \d+, .*{name}"):
        torchvision_models.build(name, size)


def test_weights_of_maxvit_fit_at_other_sizes() -> None:
    """The tables of relative positions are of the windows' size, whichever the image's."""
    shapes = [
        {key: value.shape for key, value in built(torchvision_models.find("maxvit_t"), size).state_dict().items()}
        for size in (224, 448)
    ]
    assert shapes[0] == shapes[1]
    assert built(torchvision_models.find("maxvit_t"), 448)(images(448)).shape == (2, 1000)
