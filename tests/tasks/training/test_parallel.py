"""Two processes that train together end as one process does, but for rounding."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tasks.training.batches import Split
from tasks.training.distributed import SINGLE_PROCESS, ProcessGroup
from tests.tasks.training.conftest import Splits
from tests.tasks.training.pair import Kind, add_gradients, in_processes, train, train_and_stop

pytestmark = pytest.mark.slow

CLOSE = 2e-3  # of how far the training went
EVERYTHING: dict[str, Any] = {"train": "all", "batchnorm": "train", "batch_size": 16, "optimizer": "sgd", "lr": 0.003}
TRAININGS = {
    "everything": EVERYTHING | {"epochs": 2},
    "thawing in mid-run": EVERYTHING
    | {
        "train": None,
        "phases": [{"train": "head", "epochs": 1, "lr": 0.01}, {"train": "all", "epochs": 2, "continues": True}],
    },
    "from a thaw line on": EVERYTHING | {"train": ["stages[-1]", "head"], "epochs": 2, "views": 2, "size": 24},
    "a solved head": {"train": "head", "solver": "lbfgs"},
    "all at once": EVERYTHING
    | {"epochs": 2, "micro_batch": 6, "class_weights": True, "clip_norm": 1.0, "ema": 0.5, "l2_sp": 0.1}
    | {"activation_checkpointing": True, "head": {"kind": "mlp", "dropout": 0.5}},
}
SHARDED = {
    "thawing in mid-run": {},
    "from a thaw line on": {"optimizer": "adamw", "lr": 0.0003},
    "a solved head": {
        "train": None,
        "solver": "steps",
        "lr": 1e-12,  # a random network's solved head is too large for more
        "phases": [{"train": "head", "solver": "lbfgs"}, {"train": "all", "epochs": 1}],
    },
    "all at once": {"head": {"kind": "cosine", "dropout": 0.5}, "wise_ft": [0.5]},
}
TRAININGS |= {f"{name}, sharded": TRAININGS[name] | changes | {"sharded": True} for name, changes in SHARDED.items()}
STOPPED = ["all at once, sharded"]
GRADIENTS = {
    "BatchNorm": ("shufflenet_v2_x0_5", {}),
    "norms that activate": ("timm/regnetz_005", {"micro_batch": 6}),
    "dropout": ("mobilenet_v3_small", {"micro_batch": 6, "focal_gamma": 2.0}),
    "fewer images than processes": ("shufflenet_v2_x0_5", {"micro_batch": 1, "batchnorm": "frozen"}),
}


def uneven(splits: Splits) -> Split:
    """43 images with weights, some of them 0: neither batches nor pieces can be halved."""
    weights = torch.rand(43, generator=torch.Generator().manual_seed(0))
    weights[::7] = 0
    return Split(splits.train.store, splits.train.rows[:43], splits.train.targets[:43], weights)


@pytest.fixture(scope="module")
def trained(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders that one process, and two, left of every kind of training and of every gradient."""
    single, pair = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    mixed = Split(splits.train.store, splits.train.rows[::4], splits.train.targets[::4])
    trainings = {
        name: Kind("mobilenet_v3_small", settings, uneven(splits) if "micro_batch" in settings else splits.train,
                   splits.val)
        for name, settings in TRAININGS.items()
    }  # fmt: skip
    batch = Split(mixed.store, mixed.rows[:11], mixed.targets[:11], torch.linspace(0.1, 1, 11))
    gradients = {
        name: Kind(network, EVERYTHING | {"epochs": 1} | changes, batch, splits.val)
        for name, (network, changes) in GRADIENTS.items()
    }
    in_processes(2, both, pair, trainings, gradients)
    stopped = {f"{name}, stopped": trainings[name] for name in STOPPED}
    with pytest.raises(RuntimeError):  # the first process stops, the other then fails
        in_processes(2, train_and_stop, pair, stopped)
    in_processes(2, train, pair, stopped)
    both(SINGLE_PROCESS, single, trainings, gradients)
    return single, pair


def both(processes: ProcessGroup, folder: Path, trainings: dict[str, Kind], gradients: dict[str, Kind]) -> None:
    """Train, and add gradients up."""
    train(processes, folder, trainings)
    add_gradients(processes, folder, gradients)


def weights_in(checkpoint: Path) -> dict[str, Tensor]:
    """Return the last weights that a checkpoint has."""
    return {key.removeprefix("model."): t for key, t in load_file(checkpoint).items() if key.startswith("model.")}


def distance(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """Return how far apart two states are."""
    assert left.keys() == right.keys()
    return sum(float((left[key].double() - right[key].double()).square().sum()) for key in left) ** 0.5


@pytest.mark.parametrize("kind", TRAININGS)
def test_two_processes_end_where_one_does(trained: tuple[Path, Path], kind: str) -> None:
    """Weights, statistics and losses are the same within a small share of what training changed."""
    single, pair = (folder / kind for folder in trained)
    last = weights_in(single / "checkpoint")
    start = {key: tensor for key, tensor in load_file(single / "start").items() if key in last}
    went = distance(last, start)
    assert went > 0
    assert distance(last, weights_in(pair / "checkpoint")) < CLOSE * went
    losses = load_file(single / "process-0")["losses"]
    assert torch.allclose(losses, load_file(pair / "process-0")["losses"], rtol=1e-3)


@pytest.mark.parametrize("kind", TRAININGS)
def test_all_processes_keep_the_same_epoch(trained: tuple[Path, Path], kind: str) -> None:
    """The best weights of both are the same to the bit; only the first writes a checkpoint."""
    first, second = (load_file(trained[1] / kind / f"process-{rank}") for rank in (0, 1))
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items() if key != "seconds")


@pytest.mark.parametrize("kind", STOPPED)
def test_what_was_stopped_ends_as_what_was_not(trained: tuple[Path, Path], kind: str) -> None:
    """Stopped within an epoch, a network that is divided has every step in its checkpoint, and ends the same."""
    folder = trained[1] / f"{kind}, stopped"
    assert (folder / "steps").read_text() == "2"
    expected, resumed = (load_file(place / "process-0") for place in (trained[1] / kind, folder))
    assert all(torch.equal(tensor, resumed[key]) for key, tensor in expected.items() if key != "seconds")


@pytest.mark.parametrize("kind", GRADIENTS)
def test_gradients_of_a_divided_batch_are_those_of_the_whole(trained: tuple[Path, Path], kind: str) -> None:
    """In float64, whatever looks beyond an image, all gradients and statistics are the same; of unused weights none."""
    single, pair = (load_file(folder / f"{kind}-0") for folder in trained)
    assert single.keys() == pair.keys()
    assert "unused" not in pair
    for key, tensor in single.items():
        apart = (tensor.double() - pair[key].double()).norm()
        assert apart <= 1e-4 * tensor.double().norm() + 1e-9, key
