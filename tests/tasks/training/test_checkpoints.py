"""A training's state on disk is whole, and found again by name."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn, optim

from tasks.errors import UserError
from tasks.training import checkpoints
from tasks.training.checkpoints import Progress


class Forwards(nn.Module):
    """Two layers of one shape, a convolution, and statistics."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.kernel = nn.Conv2d(2, 2, 3).to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return something that every parameter has a part in."""
        answer: Tensor = self.norm(self.second(self.first(inputs).relu())).sum() * self.kernel.weight.square().sum()
        return answer


class Backwards(Forwards):
    """The same layers, registered in the opposite order."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        for name in ("kernel", "norm", "second", "first"):
            layer = self._modules.pop(name)
            self.add_module(name, layer)


def optimizer_of(model: nn.Module, kind: str) -> optim.Optimizer:
    """Return an optimizer with a state of its own."""
    if kind == "sgd":
        return optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return optim.AdamW(model.parameters(), lr=0.1)


def train(model: nn.Module, optimizer: optim.Optimizer, steps: int) -> None:
    """Take some steps; every tensor moves."""
    generator = torch.Generator().manual_seed(steps)
    model.train()
    for _ in range(steps):
        model(torch.randn(6, 4, generator=generator)).backward()
        optimizer.step()
        optimizer.zero_grad()


def copy(model: nn.Module) -> dict[str, Tensor]:
    """Return copies of a network's tensors."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def save(target: Path, model: nn.Module, optimizer: optim.Optimizer, progress: Progress | None = None) -> None:
    """Write a checkpoint of all tensors."""
    content = checkpoints.content(model, list(model.state_dict()), optimizer, {"best": copy(model)})
    checkpoints.save(target, progress or Progress(), content)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_a_training_goes_on_as_if_nothing_had_happened(tmp_path: Path, kind: str) -> None:
    """Weights, statistics and the optimizer's moments come back: the steps after are the same, to the bit."""
    model = Forwards()
    optimizer = optimizer_of(model, kind)
    train(model, optimizer, 3)
    progress = Progress(3, 0.25, 1, 12.5, 300.0, [{"epoch": 0.0, "val_loss": 0.1 + 0.2}])
    save(tmp_path / "checkpoint", model, optimizer, progress)
    stored = copy(model)
    train(model, optimizer, 4)

    resumed = Forwards(seed=9)
    its_optimizer = optimizer_of(resumed, kind)
    loaded = checkpoints.load(tmp_path / "checkpoint", resumed, its_optimizer)
    assert loaded is not None
    assert loaded[0] == progress
    assert loaded[1]["best"].keys() == stored.keys()
    assert all(torch.equal(loaded[1]["best"][name], tensor) for name, tensor in stored.items())
    assert all(torch.equal(tensor, stored[name]) for name, tensor in resumed.state_dict().items())
    train(resumed, its_optimizer, 4)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in resumed.state_dict().items())


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_tensors_are_matched_by_name(tmp_path: Path, kind: str) -> None:
    """Layers of one shape are not swapped when they are registered in another order; nor are their moments."""
    model = Forwards()
    optimizer = optimizer_of(model, kind)
    train(model, optimizer, 3)
    save(tmp_path / "checkpoint", model, optimizer)

    other = Backwards(seed=9)
    its_optimizer = optimizer_of(other, kind)
    checkpoints.load(tmp_path / "checkpoint", other, its_optimizer)
    assert list(other.state_dict()) != list(model.state_dict())
    assert not torch.equal(other.first.weight, other.second.weight)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in other.state_dict().items())
    train(model, optimizer, 2)
    train(other, its_optimizer, 2)
    assert torch.equal(other.first.weight, model.first.weight)
    assert torch.equal(other.second.weight, model.second.weight)


def test_only_named_tensors_are_kept(tmp_path: Path) -> None:
    """What is frozen is neither written nor overwritten."""
    model = Forwards()
    content = checkpoints.content(model, ["second.weight"], optimizer_of(model, "sgd"), {})
    checkpoints.save(tmp_path / "checkpoint", Progress(), content)
    other = Forwards(seed=9)
    before = copy(other)
    checkpoints.load(tmp_path / "checkpoint", other, optimizer_of(other, "sgd"))
    changed = {name for name, tensor in other.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"second.weight"}
    assert torch.equal(other.second.weight, model.second.weight)


def test_there_need_not_be_a_checkpoint(tmp_path: Path) -> None:
    """A first attempt starts from nothing."""
    model = Forwards()
    assert checkpoints.load(tmp_path / "none", model, optimizer_of(model, "sgd")) is None


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_a_damaged_checkpoint_is_none(tmp_path: Path, kept: float) -> None:
    """A file that was cut short is not trusted, and leaves the network as it was."""
    model = Forwards()
    optimizer = optimizer_of(model, "adamw")
    train(model, optimizer, 1)
    file = tmp_path / "checkpoint"
    save(file, model, optimizer)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    other = Forwards(seed=9)
    before = copy(other)
    assert checkpoints.load(file, other, optimizer_of(other, "adamw")) is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the kernel refuse to write files beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    """The message names the file and what to do; the last whole checkpoint still loads, and nothing else is left."""
    model = nn.Sequential(nn.Linear(400, 400), nn.Linear(400, 400))
    optimizer = optimizer_of(model, "sgd")
    target = tmp_path / "checkpoint"
    save(target, model, optimizer, Progress(epoch=3))
    stored = copy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    with largest_file(400_000), pytest.raises(UserError, match="no space left") as error:
        save(target, model, optimizer, Progress(epoch=4))
    assert str(target) in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]

    loaded = checkpoints.load(target, model, optimizer)
    assert loaded is not None
    assert loaded[0].epoch == 3
    assert all(torch.equal(tensor, stored[name]) for name, tensor in model.state_dict().items())
