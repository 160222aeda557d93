"""Without computing in place a network trains the same, and copies no activation."""

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from tasks.training.out_of_place import COPIED, out_of_place


def network() -> nn.Sequential:
    """Return a network with one of each function, all in place."""
    torch.manual_seed(0)
    layers = [layer for function in (nn.ReLU6, *COPIED, nn.ReLU) for layer in (nn.Linear(8, 8), function(inplace=True))]
    return nn.Sequential(*layers)


def gradients(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the gradients of a network's weights."""
    return list(torch.autograd.grad(model(images).square().sum(), list(model.parameters())))


def copies(model: nn.Module, images: Tensor) -> int:
    """Return how many tensors a training step copies."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        gradients(model, images)
    return sum(event.count for event in seen.key_averages() if event.key == "aten::copy_")


def test_the_same_gradients_with_fewer_copies() -> None:
    """To the bit, and one copy less for each function that needs what it was given."""
    model, images = network(), torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    before, copied = gradients(model, images), copies(model, images)
    with out_of_place(model):
        assert all(map(torch.equal, gradients(model, images), before))
        assert copies(model, images) < copied


def test_a_clamp_keeps_only_its_answer() -> None:
    """Which the next layer keeps, too: a chain of them keeps one tensor for each instead of two."""
    layers = [layer for _ in range(3) for layer in (nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU6(inplace=True))]
    chain, images = (
        nn.Sequential(*layers, nn.Linear(8, 8)),
        torch.randn(4, 8, generator=torch.Generator().manual_seed(0)),
    )

    def kept() -> int:
        activations: set[int] = set()

        def keep(tensor: Tensor) -> Tensor:
            if tensor.shape == images.shape:
                activations.add(tensor.untyped_storage().data_ptr())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            answer = chain(images)
        assert answer.requires_grad
        return len(activations)

    before = kept()
    with out_of_place(chain):
        assert kept() == before - 3


@pytest.mark.parametrize("fails", [False, True])
def test_afterwards_all_is_as_it_was(fails: bool) -> None:
    """Also when the block failed; what was not in place stays so."""
    model = nn.Sequential(nn.ReLU6(inplace=True), nn.ReLU6(), nn.ReLU(inplace=True))

    def run() -> None:
        with out_of_place(model):
            assert [module.inplace for module in model] == [False, False, True]
            if fails:
                raise KeyError

    if fails:
        with pytest.raises(KeyError):
            run()
    else:
        run()
    assert [module.inplace for module in model] == [True, False, True]
