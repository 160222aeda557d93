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
