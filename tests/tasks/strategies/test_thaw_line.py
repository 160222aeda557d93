"""Networks in two at their thaw line."""

import pytest
import torch

from tasks.strategies import freezing
from tasks.strategies.thaw_line import divide, names_that_train
from tests.tasks.networks import SIZE, network, strategy

FAMILIES = ("mobilenet_v2", "squeezenet1_1", "googlenet", "densenet121", "vit_b_16", "swin_t", "convnext_tiny")
LINES = {"head": ["head"], "last stage": ["stages[-1]", "head"], "first stages": ["stages[1:]", "head"]}


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_halves_are_the_network(family: str, line: str) -> None:
    """Both halves answer what the network answers, and all that trains is in the second."""
    adapted, plan = network(family, strategy(train=LINES[line]))
    trains = names_that_train(plan, 0)
    halves = divide(adapted.model, adapted.parts, trains, torch.randn(2, 1, SIZE, SIZE))
    assert halves is not None
    images = torch.randn(3, 1, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(halves.rest(halves.frozen(images)), adapted.model.eval()(images))
    assert not trains & {name for name, _ in halves.frozen.named_parameters()}
    assert {name for name, _ in adapted.model.named_parameters()} & trains <= {
        name for name, _ in halves.rest.named_parameters()
    }


def test_gradients_reach_what_trains() -> None:
    """A backward pass through the second half fills the gradients of the network's own parameters."""
    adapted, plan = network("mobilenet_v2", strategy(train=["stages[-1]", "head"]))
    halves = divide(adapted.model, adapted.parts, names_that_train(plan, 0), torch.randn(2, 1, SIZE, SIZE))
    assert halves is not None
    freezing.apply(plan, adapted.model, 0, update_statistics=False)
    with torch.no_grad():
        activation = halves.frozen(torch.randn(2, 1, SIZE, SIZE))
    halves.rest(activation).sum().backward()
    moved = {name for name, parameter in adapted.model.named_parameters() if parameter.grad is not None}
    assert moved == {name for g in plan.groups if g.name in plan.rates(0) for name in g.parameters}


@pytest.mark.parametrize("train", ["all", ["stem", "head"]])
def test_no_line_where_the_first_layer_trains(train: object) -> None:
    """There is nothing frozen before it."""
    adapted, plan = network("mobilenet_v2", strategy(train=train))
    assert divide(adapted.model, adapted.parts, names_that_train(plan, 0), torch.randn(2, 1, SIZE, SIZE)) is None


def test_a_norm_that_trains_takes_its_convolution_along() -> None:
    """In VGG the stem is a convolution and the first stage its norm, which may be folded into it."""
    adapted, plan = network("vgg11_bn", strategy(train=["stages", "head"]))
    trains = names_that_train(plan, 0)
    assert "features.1" in trains
    assert "features.0" not in trains
    assert divide(adapted.model, adapted.parts, trains, torch.randn(2, 1, SIZE, SIZE)) is None


def test_no_line_where_an_auxiliary_classifier_trains() -> None:
    """In training it answers, too, which a graph of the answers to images does not show."""
    adapted, plan = network("googlenet", strategy(groups={"stem": "(?!aux|fc).*", "aux": "aux.*", "head": "fc.*"},
                                                  train=["aux", "head"]))  # fmt: skip
    assert divide(adapted.model, adapted.parts, names_that_train(plan, 0), torch.randn(2, 1, SIZE, SIZE)) is None
