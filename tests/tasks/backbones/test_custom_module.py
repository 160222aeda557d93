"""Architectures of one's own: imported from the current folder, divided, and built for a working size."""

import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import torch

from tasks.backbones import catalogue, custom_module
from tasks.errors import UserError
from tasks.params import PartsParams
from tests.tasks.backbones.skeletons import assert_divided, owners, tensors

NET = """
import torch
from torch import nn

def net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(6, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(6, 7),
    )

class Sized(nn.Module):
    def __init__(self, depth=1, *, img_size=48):
        super().__init__()
        self.side = img_size // 8
        self.patches = nn.Conv2d(3, 8, 8, stride=8)
        self.positions = nn.Parameter(torch.zeros(1, self.side**2, 8))
        self.blocks = nn.Sequential(*(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)) for _ in range(depth)))
        self.head = nn.Linear(8, 7)

    def forward(self, images):
        return self.head(self.blocks(self.patches(images).flatten(2).mT + self.positions).mean(1))

def rigid():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(4 * 60 * 60, 2))

def needy(depth):
    return net()

def broken():
    raise ValueError("two\\nlines")

def nothing():
    return 3

NUMBER = 3
"""
Write = Callable[[str], str]
_numbers = count()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module into the current folder and return its name, which no other test has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(content: str) -> str:
        name = f"own_network_{next(_numbers)}"
        Path(f"{name}.py").write_text(content)
        return name

    return written


def test_network_is_found_and_divided(write: Write) -> None:
    """A callable in the current folder is a backbone like any other; ImageNet's statistics are taken for its own."""
    architecture = catalogue.find(f"{write(NET)}:net")
    model = architecture.build(32)
    parts = assert_divided(architecture, model)
    assert (architecture.input_layer, architecture.head) == ("0", "11")
    assert [part.name for part in parts] == ["stem", "stage1", "stage2", "head"]
    assert parts[-1].owns("10")
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert architecture.recipe is None
    assert len(architecture.mean) == len(architecture.std) == 3
    assert architecture.auxiliary == ()


def test_network_in_a_package(write: Write, tmp_path: Path) -> None:
    """The module may lie in a package."""
    module = write(NET)
    package = f"{module}_package"
    (tmp_path / package / "inner").mkdir(parents=True)
    (tmp_path / f"{module}.py").rename(tmp_path / package / "inner" / "nets.py")
    assert catalogue.find(f"{package}.inner.nets:net").head == "11"


def test_weights_are_drawn_anew_by_the_seed(write: Write) -> None:
    """Finding a network out leaves the random numbers alone, and two builds from one seed are the same."""
    architecture = catalogue.find(f"{write(NET)}:net")
    states = []
    for _ in range(2):
        torch.manual_seed(4)
        states.append(architecture.build(32).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    torch.manual_seed(4)
    before = torch.rand(1)
    torch.manual_seed(4)
    catalogue.find(f"{write(NET)}:net")
    assert torch.equal(torch.rand(1), before)


@pytest.mark.parametrize("size", [32, 64])
def test_callable_that_takes_a_size_gets_it(write: Write, size: int) -> None:
    """What is made for one size is made for the working size; unset, its own default is its size."""
    architecture = catalogue.find(f"{write(NET)}:Sized")
    assert architecture.size == 48
    model = architecture.build(size)
    assert model.get_parameter("positions").shape[1] == (size // 8) ** 2
    assert_divided(architecture, model)


def test_size_that_it_does_not_take_is_refused(write: Write) -> None:
    """A network made for one size is found at that size and says so at others."""
    architecture = catalogue.find(f"{write(NET)}:rigid")
    assert architecture.size == 64
    architecture.build(64)
    with pytest.raises(UserError, match=r"data\.size 65 is none that \S+:rigid takes: .*shape"):
        architecture.build(65)


def test_stated_parts_come_before_found_ones(write: Write) -> None:
    """backbone.parts divides the network as it says."""
    name = f"{write(NET)}:net"
    architecture = catalogue.find(name, PartsParams(stem=("0", "1"), stages=(("4", "7"),), head="11"))
    model = architecture.build(32)
    parts = assert_divided(architecture, model)
    assert [part.name for part in parts] == ["stem", "stage1", "head"]
    owned = owners(catalogue.find(name).split(model), tensors(model))
    assert owned["7.weight"] == ["stage2"]


def test_code_counts(write: Write, tmp_path: Path) -> None:
    """Another source is another digest, also in another file of its package; the libraries' networks have none."""
    first, second = write(NET), write(NET + "\n# changed")
    assert custom_module.code_sha256(f"{first}:net") != custom_module.code_sha256(f"{second}:net")
    package = tmp_path / f"{first}_package"
    package.mkdir()
    (package / "__init__.py").write_text("from .layers import net")
    (package / "layers.py").write_text(NET)
    before = catalogue.code_sha256(f"{first}_package:net")
    (package / "layers.py").write_text(NET + "\n# changed")
    assert catalogue.code_sha256(f"{first}_package:net") != before
    assert catalogue.code_sha256("resnet18") == catalogue.code_sha256("timm/resnet18") == ""


@pytest.mark.parametrize(
    ("callable_", "said"),
    [
        ("nat", r"has no callable 'nat' \(did you mean 'net'"),
        ("NUMBER", r"has no callable 'NUMBER'"),
        ("", r"has no callable ''"),
        ("needy", r"calling it with no arguments failed with TypeError: .*depth"),
        ("broken", r"calling it with no arguments failed with ValueError: two lines"),
        ("nothing", r"returns a int where a network"),
        ("nn.Linear", r"has no callable"),
    ],
)
def test_callable_that_makes_no_network_is_refused(write: Write, callable_: str, said: str) -> None:
    """What is wrong with the callable is one sentence that names it."""
    name = f"{write(NET)}:{callable_}"
    with pytest.raises(UserError, match=rf"backbone\.name '{name}'.*{said}") as caught:
        catalogue.find(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("import no_such_package_anywhere", r"failed with ModuleNotFoundError: No module named 'no_such_package"),
        ("def", r"failed with SyntaxError"),
        ("1 / 0", r"failed with ZeroDivisionError"),
    ],
)
def test_module_that_can_not_be_imported_is_named(write: Write, content: str, said: str) -> None:
    """An error in the user's module is one sentence with its kind."""
    module = write(content)
    with pytest.raises(UserError, match=rf"importing {module} from .* {said}"):
        catalogue.find(f"{module}:net")


def test_missing_module_is_named(write: Write, tmp_path: Path) -> None:
    """So is a module that isn't there, with the folder it was looked for in."""
    write(NET)
    with pytest.raises(UserError, match=rf"importing no_such\.module from {tmp_path} failed"):
        catalogue.find("no_such.module:net")
