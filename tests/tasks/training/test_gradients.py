"""Gradients in pieces are those of the whole; what is computed again is what was computed before."""

import pytest
import torch
from torch import Tensor

from tasks.strategies import freezing
from tasks.training.activation_checkpointing import activation_checkpointed
from tasks.training.gradients import Gradients
from tasks.training.inference import to_device
from tests.tasks.networks import network, strategy
from tests.tasks.training.conftest import CPU, Splits

SETTINGS = {"train": "all", "lr": 0.01, "epochs": 1, "label_smoothing": 0.1, "class_weights": True}
CORRECTIONS = {
    "class weights": {},
    "focal": {"focal_gamma": 2.0},
    "logit adjustment": {"class_weights": False, "logit_adjustment": 1.0},
}


def gradients_of(
    splits: Splits, name: str = "mobilenet_v3_small", weights: Tensor | None = None, **settings: object
) -> dict[str, Tensor]:
    """Return loss, gradients and statistics of one batch of real images."""
    chosen = strategy(**{**SETTINGS, **settings, "batch_size": 20})
    adapted, plan = network(name, chosen)
    freezing.apply(plan, adapted.model, 0, update_statistics=chosen.updates_statistics)
    for module in adapted.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.training = False
    images = to_device(adapted, splits.train.images(splits.train.rows[:20] * 0 + range(20)), CPU)
    prefixes = [prefix for part in adapted.parts for prefix in part.prefixes]
    add_gradients = Gradients(adapted, chosen, CPU, splits.train)
    if chosen.activation_checkpointing:
        with activation_checkpointed(adapted.model, prefixes):
            loss = add_gradients(adapted.model, images, splits.train.targets[:20], weights)
    else:
        loss = add_gradients(adapted.model, images, splits.train.targets[:20], weights)
    gradients = {name: p.grad.clone() for name, p in adapted.model.named_parameters() if p.grad is not None}
    return {"loss": torch.tensor(loss)} | gradients | {n: b.clone() for n, b in adapted.model.named_buffers()}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("piece", [1, 3, 20])
def test_pieces_add_up_to_the_whole(splits: Splits, piece: int, correction: str, weighted: bool) -> None:
    """The gradient of a batch does not depend on how much of it is in the network at once."""
    weights = torch.linspace(0, 2, 20) if weighted else None
    whole = gradients_of(splits, weights=weights, **CORRECTIONS[correction])
    pieces = gradients_of(splits, weights=weights, micro_batch=piece, **CORRECTIONS[correction])
    assert whole.keys() == pieces.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(
            pieces[name], gradient, rtol=1e-3, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
        )


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18", "densenet121"])
@pytest.mark.parametrize("batchnorm", ["frozen", "train"])
def test_checkpointed_activations_change_nothing(splits: Splits, name: str, batchnorm: str) -> None:
    """Loss, gradients, and BatchNorm statistics, which must not take the batch in twice, are the same to the bit."""
    plain = gradients_of(splits, name, batchnorm=batchnorm)
    again = gradients_of(splits, name, batchnorm=batchnorm, activation_checkpointing=True)
    assert plain.keys() == again.keys()
    assert any(name.endswith("num_batches_tracked") and tensor == 1 for name, tensor in plain.items()) == (
        batchnorm == "train"
    )
    for key, tensor in plain.items():
        assert torch.equal(again[key], tensor), key


def test_recomputing_saves_memory(splits: Splits) -> None:
    """Fewer bytes are kept for the backward pass."""
    kept = []
    for checkpointing in (False, True):
        seen: dict[int, int] = {}

        def keep(tensor: Tensor, seen: dict[int, int] = seen) -> Tensor:
            seen[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            gradients_of(splits, "densenet121", activation_checkpointing=checkpointing)
        kept.append(sum(seen.values()))
    assert kept[1] < kept[0] / 2


def test_auxiliary_classifiers_take_part(splits: Splits) -> None:
    """While they train their losses count, by their weight; while they are frozen they are not even run."""
    plain = gradients_of(splits, "googlenet", train=["stages", "head"])
    helped = gradients_of(splits, "googlenet", train="all")
    assert float(helped["loss"]) > 1.3 * float(plain["loss"])
    assert any(name.startswith("aux") and tensor.abs().sum() > 0 for name, tensor in helped.items())
