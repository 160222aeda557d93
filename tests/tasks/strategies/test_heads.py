"""New heads answer for the new classes, and what was there before stays what it was."""

import pytest
import torch
from torch import Tensor, nn

from tasks.backbones.architecture import Part
from tasks.errors import UserError
from tasks.params import HeadParams
from tasks.strategies import heads
from tasks.strategies.surgery import Adapted
from tests.tasks.strategies.pretrained import (
    adapt,
    assert_every_tensor_has_one_part,
    logits,
    random_images,
    weights,
)

NETWORKS = {"resnet18": "fc", "mobilenet_v3_small": "classifier.3", "squeezenet1_1": "classifier.1", "swin_t": "head"}
KINDS = ("linear", "mlp", "cosine", "on_top")


def layer_kinds(module: nn.Module) -> list[str]:
    """Return the class names of a module's leaves."""
    return [type(leaf).__name__ for leaf in module.modules() if not any(leaf.children())]


def part(adapted: Adapted, name: str) -> set[str]:
    """Return the names of a part's tensors."""
    owner = next(part for part in adapted.parts if part.name == name)
    return {tensor for tensor in adapted.model.state_dict() if owner.owns(tensor)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_head_answers_for_every_class_and_is_all_that_is_new(name: str, kind: str) -> None:
    """There is a finite logit a class; every old weight is there to the bit; the new ones are the head, and train."""
    adapted = adapt(name, classes=5, head={"kind": kind, "hidden": 8})
    answer = logits(adapted, random_images())
    assert answer.shape == (2, 5)
    assert answer.isfinite().all()
    assert_every_tensor_has_one_part(adapted)

    old, new = weights(name), part(adapted, "head")
    assert all(tensor.startswith(f"{adapted.head}.") for tensor in new)
    for key, tensor in adapted.model.state_dict().items():
        if key not in new:
            assert torch.equal(tensor, old[key.replace(".old.", ".")]), key
    adapted.model(adapted.normalisation(random_images())).square().sum().backward()
    gradients = {key: parameter.grad for key, parameter in adapted.model.named_parameters() if key in new}
    assert gradients.keys() == new
    assert all(gradient is not None and gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        ("linear", ["Linear"]),
        ("mlp", ["Linear", "ReLU", "Linear"]),
        ("cosine", ["CosineLinear"]),
        ("on_top", ["Linear", "ReLU", "Linear"]),
    ],
)
def test_dropout_stands_before_the_last_layer(kind: str, layers: list[str]) -> None:
    """Without dropout there is none; with dropout it is the last but one layer."""
    plain, dropping = (adapt("resnet18", head={"kind": kind, "hidden": 8, "dropout": rate}) for rate in (0.0, 0.4))
    assert layer_kinds(plain.model.get_submodule(plain.head)) == layers
    head = dropping.model.get_submodule(dropping.head)
    assert layer_kinds(head) == [*layers[:-1], "Dropout", layers[-1]]
    assert [leaf.p for leaf in head.modules() if isinstance(leaf, nn.Dropout)] == [0.4]


@pytest.mark.parametrize("classes", [2, 3, 1000, 2500])
@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_classes(kind: str, classes: int) -> None:
    """Fewer classes than the pretraining's, as many, or more."""
    assert logits(adapt("squeezenet1_1", classes=classes, head={"kind": kind}), random_images()).shape == (2, classes)


def test_the_hidden_width_is_the_settings() -> None:
    """The two layers of ``mlp`` start at the features, those of ``on_top`` at the old logits."""
    for kind, inputs in (("mlp", 512), ("on_top", 1000)):
        adapted = adapt("resnet18", classes=3, head={"kind": kind, "hidden": 12})
        layers = [m for m in adapted.model.get_submodule(adapted.head).modules() if isinstance(m, nn.Linear)]
        assert [(layer.in_features, layer.out_features) for layer in layers] == [(inputs, 12), (12, 3)]


@pytest.mark.parametrize(
    ("head", "features"),
    [(heads.CosineLinear(6, 4), torch.randn(3, 6)), (heads.CosineConv2d(6, 4), torch.randn(3, 6, 5, 5))],
)
def test_cosine_scores_are_scaled_cosines(head: heads.CosineLinear | heads.CosineConv2d, features: Tensor) -> None:
    """Neither the length of the features nor that of a class's weights matters; the learned scale is the largest score.

    Features that point where a class's weights do get the whole scale.
    """
    with torch.no_grad():
        scores = head(features)
        assert scores.abs().max() <= head.scale + 1e-4
        torch.testing.assert_close(head(features * 7), scores)
        head.weight.mul_(3)
        torch.testing.assert_close(head(features), scores)
        head.scale.fill_(2.0)
        torch.testing.assert_close(head(features), scores / 5)
        aligned = head.weight[:1]
        torch.testing.assert_close(head(aligned)[0, 0].squeeze(), torch.tensor(2.0))


def test_a_last_layer_of_another_kind_is_refused() -> None:
    """The message names the layer and its class."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Bilinear(4, 4, 2))
    parts = [Part("stem", ("0",)), Part("head", ("1",))]
    with pytest.raises(UserError, match=r"'1' is a Bilinear.*Linear or a 1x1 Conv2d"):
        heads.replace_head(model, parts, "1", 2, HeadParams())


def test_auxiliary_classifiers_answer_for_the_new_classes() -> None:
    """In training mode GoogLeNet answers three logits a class, whatever the head's kind; each has a part."""
    adapted = adapt("googlenet", classes=4, head={"kind": "mlp", "hidden": 8})
    answer = adapted.model.train()(adapted.normalisation(random_images(count=4)))
    assert [tuple(logits.shape) for logits in answer] == [(4, 4)] * 3
    assert adapted.auxiliary_weight == 0.3
    assert [part.name for part in adapted.parts][-2:] == ["aux", "head"]
    assert {"aux1.fc2.weight", "aux2.fc2.bias"} <= part(adapted, "aux")
    assert isinstance(adapted.model.get_submodule("aux1.fc2"), nn.Linear)
    assert_every_tensor_has_one_part(adapted)


def test_layers_on_top_follow_the_last_stage_where_there_are_auxiliary_classifiers() -> None:
    """The old classifier belongs to the last stage, not to the auxiliary classifiers."""
    adapted = adapt("googlenet", head={"kind": "on_top", "hidden": 8})
    assert {"fc.old.weight", "fc.old.bias"} <= part(adapted, "stage11")
    assert not any(name.startswith("fc") for name in part(adapted, "aux"))
