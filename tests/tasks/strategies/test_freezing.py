"""What is frozen stays as it is, to the bit."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn, optim

from tasks.backbones.architecture import Part
from tasks.strategies import freezing, grouping
from tasks.strategies.freezing import FreezePlan, Phase
from tasks.training.optim import build
from tests.tasks.networks import strategy

PARTS = (Part("stem", ("stem",)), Part("stage1", ("body",)), Part("head", ("head",)))
BODY_THEN_HEAD = (Phase(2, {"stage1": 0.1, "head": 0.1}), Phase(3, {"head": 0.05}))


class Toy(nn.Module):
    """A stem, one stage and a head, with BatchNorm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.body(self.stem(images)))
        return logits


def plan_of(model: nn.Module, *phases: Phase) -> FreezePlan:
    """Return a plan for a toy network."""
    return FreezePlan(grouping.group_by_part(model, PARTS), phases)


def snapshot(model: nn.Module, names: list[str] | None = None) -> dict[str, Tensor]:
    """Return copies of a network's tensors."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if names is None or name in names}


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Return the names of the tensors that differ from a snapshot in any bit."""
    state = model.state_dict()
    return {name for name, tensor in before.items() if not torch.equal(state[name], tensor)}


def steps(model: nn.Module, optimizer: optim.Optimizer, count: int = 3) -> None:
    """Train on noise, which every tensor that can move reacts to."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        images = 2 + 3 * torch.randn(8, 1, 12, 12, generator=generator)
        model(images).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def of_group(plan: FreezePlan, name: str) -> list[str]:
    """Return the names of all tensors of a group."""
    group = next(group for group in plan.groups if group.name == name)
    return [*group.parameters, *group.buffers]


def state_of(model: nn.Module) -> tuple[list[bool], list[bool]]:
    """Return what requires a gradient, and which modules are in training mode."""
    return [p.requires_grad for p in model.parameters()], [m.training for m in model.modules()]


@given(visited=st.lists(st.integers(0, 4), max_size=6), epoch=st.integers(0, 4), statistics=st.booleans())
def test_the_state_depends_on_the_epoch_alone(visited: list[int], epoch: int, statistics: bool) -> None:
    """Whatever epochs came before, and whatever was done to the network: the state of an epoch is the same."""
    fresh, used = Toy().eval(), Toy()
    plan = plan_of(fresh, *BODY_THEN_HEAD)
    for earlier in visited:
        freezing.apply(plan, used, earlier, update_statistics=not statistics)
        used(torch.ones(2, 1, 8, 8)).sum().backward()
    if visited:
        used.train()
    for model in (fresh, used):
        freezing.apply(plan, model, epoch, update_statistics=statistics)
    assert state_of(fresh) == state_of(used)
    assert all(parameter.grad is None for parameter in used.parameters())
    expected = {name for group in plan.groups if group.name in plan.rates(epoch) for name in group.parameters}
    assert {name for name, parameter in used.named_parameters() if parameter.requires_grad} == expected


def test_frozen_statistics_do_not_drift() -> None:
    """BatchNorm of a frozen part keeps its statistics in training steps; without the plan's modes it would not."""
    model = Toy()
    plan = plan_of(model, Phase(1, {"head": 0.1}))
    before = snapshot(model)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    freezing.apply(plan, model, 0, update_statistics=True)
    steps(model, optimizer)
    assert changed(model, before) == {"head.2.weight", "head.2.bias"}

    uncured = Toy().train()
    for parameter in (*uncured.stem.parameters(), *uncured.body.parameters()):
        parameter.requires_grad_(False)
    steps(uncured, optim.SGD([p for p in uncured.parameters() if p.requires_grad], lr=0.1))
    assert changed(uncured, before) >= {"stem.1.running_mean", "stem.1.running_var", "body.1.running_mean"}


def test_statistics_of_parts_that_train_are_updated_only_when_asked_for() -> None:
    """``batchnorm: frozen`` keeps them, ``train`` updates them; frozen parts keep theirs either way."""
    for update in (False, True):
        model = Toy()
        plan = plan_of(model, Phase(1, {"stage1": 0.1, "head": 0.1}))
        before = snapshot(model)
        freezing.apply(plan, model, 0, update_statistics=update)
        steps(model, optim.SGD(model.parameters(), lr=0.1))
        moved = changed(model, before)
        assert ("body.1.running_mean" in moved) == update
        assert {"body.0.weight", "body.1.weight", "head.2.weight"} <= moved
        assert not any(name.startswith("stem") for name in moved)
        assert moved.isdisjoint(plan.never_moved(update_statistics=update))


def test_dropout_is_off_in_frozen_parts_only() -> None:
    """A frozen part answers the same in every step."""
    model = Toy()
    plan = plan_of(model, Phase(1, {"stage1": 0.1}))
    freezing.apply(plan, model, 0, update_statistics=False)
    images = torch.randn(4, 1, 12, 12)
    assert torch.equal(model.stem(images), model.stem(images))
    assert not torch.equal(model.body(model.stem(images)), model.body(model.stem(images)))


OPTIMIZERS: dict[str, Callable[[nn.Module, FreezePlan], optim.Optimizer]] = {
    kind: lambda model, plan, kind=kind: build(model, plan, strategy(train="all", optimizer=kind, weight_decay=0.5))
    for kind in ("adamw", "sgd")
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_no_optimizer_moves_what_is_frozen(kind: str) -> None:
    """Neither weight decay nor the momentum of an earlier phase reaches a frozen tensor, even at a positive rate."""
    model = Toy()
    plan = plan_of(model, *BODY_THEN_HEAD)
    optimizer = OPTIMIZERS[kind](model, plan)
    for group in optimizer.param_groups:
        group["lr"] = 0.05
    stem = snapshot(model, of_group(plan, "stem"))
    body = snapshot(model, of_group(plan, "stage1"))

    freezing.apply(plan, model, 0, update_statistics=True)
    steps(model, optimizer)
    assert not changed(model, stem)
    assert changed(model, body) == set(body), "the first phase trains the body"

    body = snapshot(model, list(body))
    head = snapshot(model, ["head.2.weight"])
    model(torch.randn(4, 1, 12, 12)).sum().backward()  # a gradient that is left over from the first phase
    body |= snapshot(model, of_group(plan, "stage1"))
    freezing.apply(plan, model, 2, update_statistics=True)
    steps(model, optimizer)
    assert not changed(model, stem)
    assert not changed(model, body)
    assert changed(model, head)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_zero_gradient_would_not_be_enough(kind: str) -> None:
    """What the plan guards against is real: with gradients of zero, momentum and weight decay do move weights."""
    model = Toy()
    optimizer = OPTIMIZERS[kind](model, plan_of(model, *BODY_THEN_HEAD))
    for group in optimizer.param_groups:
        group["lr"] = 0.05
    steps(model, optimizer)
    before = snapshot(model, ["body.0.weight"])
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert changed(model, before)


@pytest.mark.parametrize("name", ["body.0.weight", "stem.1.running_var", "body.1.num_batches_tracked"])
def test_the_proof_names_the_tensor_that_moved(name: str) -> None:
    """One changed bit in one tensor is found; an unchanged network passes."""
    model = Toy()
    names = [key for key in model.state_dict() if not key.startswith("head")]
    before = freezing.digests(model, names)
    freezing.prove_frozen(before, freezing.digests(model, names))
    raw = model.state_dict()[name].view(-1).view(torch.uint8)
    raw[0] ^= 1
    with pytest.raises(RuntimeError, match=name.replace(".", r"\.")):
        freezing.prove_frozen(before, freezing.digests(model, names))


def test_the_plan_says_what_trains_when() -> None:
    """Phases follow each other; what trains and when can be read as text."""
    model = Toy()
    plan = plan_of(model, Phase(2, {"head": 0.1}), Phase(3, {"head": 0.01, "stage1": 0.05}))
    assert plan.epochs == 5
    assert [plan.phase(epoch) for epoch in range(5)] == [(0, 0), (0, 0), (1, 2), (1, 2), (1, 2)]
    assert plan.rates(1) == {"head": 0.1}
    assert plan.rates(2) == {"head": 0.01, "stage1": 0.05}
    assert [plan.thaws_at(name) for name in ("stem", "stage1", "head")] == [None, 2, 0]
    sizes = {
        part: sum(p.numel() for n, p in model.named_parameters() if n.startswith(part)) for part in ("body", "head")
    }
    assert plan.trainable() == sum(sizes.values())
    *lines, total = plan.lines()
    assert [line.split()[0] for line in lines] == ["stem", "stage1", "head"]
    assert [line.split()[1] for line in lines] == ["░░", "░█", "█▓"], "darker where the rate is higher"
    assert [line.split("parameters")[1].strip() for line in lines] == [
        "frozen",
        "trains from epoch 3",
        "trains from epoch 1",
    ]
    assert f"{plan.trainable():,}" in total
    assert "5 epochs" in total
    for outside in (-1, 5):
        with pytest.raises(IndexError, match=str(outside)):
            plan.phase(outside)


def test_what_never_moves_are_frozen_parts_and_unchanged_statistics() -> None:
    """Statistics of parts that train count as fixed only while BatchNorm does not update them."""
    plan = plan_of(Toy(), Phase(1, {"stage1": 0.1, "head": 0.1}))
    stem = set(of_group(plan, "stem"))
    statistics = {f"body.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert set(plan.never_moved(update_statistics=True)) == stem
    assert set(plan.never_moved(update_statistics=False)) == stem | statistics


@pytest.mark.parametrize("rate", [0.0, -0.1])
def test_a_rate_of_zero_is_not_frozen(rate: float) -> None:
    """A group at rate 0 would still update its statistics and count as training: it must be left out instead."""
    with pytest.raises(ValueError, match="leave it out"):
        Phase(1, {"stage1": rate, "head": 0.1})


@given(
    phases=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=6),
)
def test_schedules_are_made_of_phases_that_continue(phases: list[tuple[int, bool]]) -> None:
    """Every epoch is in one schedule; one starts with each phase that doesn't continue the one before."""
    plan = plan_of(Toy(), *(Phase(epochs, {"head": 0.1}, continues) for epochs, continues in phases))
    starts = [0]
    before = 0
    for place, (epochs, continues) in enumerate(phases):
        if place and not continues:
            starts.append(before)
        before += epochs
    ends = [*starts[1:], plan.epochs]
    for epoch in range(plan.epochs):
        first, length = plan.cycle(epoch)
        assert (first, first + length) in zip(starts, ends, strict=True)
        assert first <= epoch < first + length
