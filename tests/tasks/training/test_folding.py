"""Folding BatchNorm into convolutions changes the time that a step takes, and nothing else."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from tasks.backbones import torchvision_models
from tasks.training.folding import folded

NETWORKS = ("mobilenet_v2", "shufflenet_v2_x0_5", "resnet18", "densenet121")


def network(name: str) -> nn.Module:
    """Return a network in double precision whose statistics are not those that every network starts with."""
    torch.manual_seed(0)
    model = torchvision_models.build(name).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2)
    return model


def images() -> Tensor:
    """Return a batch."""
    return torch.randn(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def answers(model: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a network's answer to a batch, and the gradients of all its parameters."""
    model.zero_grad()
    answer = model(images())
    answer.square().mean().backward()
    return answer.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_and_gradients_stay_the_same(name: str) -> None:
    """Inside the block every parameter gets the gradient that it gets outside, BatchNorm's own included."""
    model = network(name)
    plain, gradients = answers(model)
    with folded(model):
        quick, its_gradients = answers(model)
    torch.testing.assert_close(quick, plain)
    assert its_gradients.keys() == gradients.keys() == dict(model.named_parameters()).keys()
    torch.testing.assert_close(its_gradients, gradients)


def test_nothing_is_normalised_inside_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of MobileNetV2's BatchNorms go into their convolutions, and all come back afterwards."""
    model, calls = network("mobilenet_v2"), []
    plain = F.batch_norm
    monkeypatch.setattr(F, "batch_norm", lambda *given, **named: calls.append(1) or plain(*given, **named))
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    with folded(model):
        model(images())
    assert calls == []
    model(images())
    assert len(calls) == norms


def test_statistics_that_train_are_untouched_by_folding() -> None:
    """A BatchNorm in training mode answers and updates as it does outside; modes may change inside the block."""
    inside, outside = network("shufflenet_v2_x0_5"), network("shufflenet_v2_x0_5")
    with folded(inside):
        inside.train()
        torch.testing.assert_close(inside(images()), outside.train()(images()))
        inside.eval()
        torch.testing.assert_close(inside(images()), outside.eval()(images()))
    for name, tensor in outside.state_dict().items():
        torch.testing.assert_close(inside.state_dict()[name], tensor)


def test_the_network_comes_back_after_an_error() -> None:
    """Whatever ends the block, the network is as it was."""
    model = network("resnet18")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain, _ = answers(model)
    with pytest.raises(KeyError), folded(model):
        raise KeyError
    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(answers(model)[0], plain)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


class Shared(nn.Module):
    """What must not be folded: a convolution used twice, one whose answer has two readers, data-dependent flow."""

    def __init__(self, *, branches: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.branches = branches
        self.twice, self.once = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(3) for _ in range(3))
        for norm in self.norms:
            norm.running_mean += torch.rand(3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return something that depends on all of it."""
        if self.branches and inputs.sum() > 0:
            inputs = -inputs
        inner = self.norms[1](self.twice(self.norms[0](self.twice(inputs))))
        kept = self.once(inner)
        answer: Tensor = kept + self.norms[2](kept)
        return answer


@pytest.mark.parametrize("branches", [False, True])
def test_what_cannot_be_folded_is_left_alone(branches: bool) -> None:
    """Shared convolutions, answers with two readers and untraceable networks give what they always give."""
    model = Shared(branches=branches).double().eval()
    plain, gradients = answers(model)
    with folded(model):
        quick, its_gradients = answers(model)
    torch.testing.assert_close(quick, plain)
    torch.testing.assert_close(its_gradients, gradients)


def test_a_network_that_was_changed_is_looked_at_again() -> None:
    """What was known of a network isn't taken for one that has another layer in its place."""
    model = network("resnet18")
    with folded(model):
        plain = model(images())
    model.layer1[0].bn1 = nn.Identity()  # type: ignore[union-attr]
    changed = model(images())
    assert not torch.allclose(changed, plain)
    with folded(model):
        torch.testing.assert_close(model(images()), changed)
