"""A network that is divided over processes: what each of them keeps, and how it comes together again."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from tasks.strategies import freezing
from tasks.training.distributed import ProcessGroup
from tasks.training.optim import build
from tasks.training.sharding import full_tensor, shard, shard_like
from tests.tasks.networks import SIZE, network, strategy
from tests.tasks.training.pair import CPU, in_processes

pytestmark = pytest.mark.slow

NETWORKS = ["mobilenet_v3_small", "swin_t"]


def keep(processes: ProcessGroup, folder: Path) -> None:
    """Take a step with each network; leave what this process keeps of it and of AdamW's state, and how it was cut."""
    for name in NETWORKS:
        settings = strategy(train="all", lr=1e-3, optimizer="adamw")
        adapted, plan = network(name, settings)
        divided = shard(adapted, torch.zeros(2, 1, SIZE, SIZE), CPU)
        freezing.apply(plan, divided.model, 0, update_statistics=False)
        optimizer = build(divided.model, plan, settings)
        divided.model(torch.ones(2, 1, SIZE, SIZE)).square().sum().backward()
        optimizer.step()
        state = [t for kept in optimizer.state.values() for t in kept.values() if t.dim()]
        kept = torch.tensor([size(divided.model.parameters()), size(state), largest_block(divided.model)])
        first = next(parameter.detach() for parameter in divided.model.parameters())
        again = full_tensor(shard_like(first, full_tensor(first)))
        save_file(
            {"kept": kept, "first": full_tensor(first).contiguous(), "again": again.contiguous()},
            folder / f"{name}-{processes.rank}",
        )


def size(tensors: object) -> int:
    """Return how many numbers a process keeps of some tensors."""
    return sum((t.to_local() if isinstance(t, DTensor) else t).numel() for t in tensors)  # type: ignore[attr-defined]


def largest_block(model: nn.Module) -> int:
    """Return the number of the weights that are together at once, besides the network's own."""
    blocks = [module for module in model.modules() if isinstance(module, FSDPModule) and module is not model]
    return max(sum(parameter.numel() for parameter in block.parameters()) for block in blocks)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what two processes keep."""
    folder = tmp_path_factory.mktemp("kept")
    in_processes(2, keep, folder)
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_each_process_keeps_a_half(kept: Path, name: str) -> None:
    """Of weights and of the optimizer's state; no more than a part of the network is together at once."""
    adapted, _ = network(name, strategy(train="all"))
    count = sum(parameter.numel() for parameter in adapted.model.parameters())
    halves: list[Tensor] = [load_file(kept / f"{name}-{rank}")["kept"] for rank in (0, 1)]
    weights, state, largest = zip(*(half.tolist() for half in halves), strict=True)
    assert sum(weights) == count
    assert sum(state) == 2 * count
    assert max(weights) < 0.52 * count
    assert max(state) < 0.52 * 2 * count
    assert max(largest) < 0.5 * count


@pytest.mark.parametrize("name", NETWORKS)
def test_slices_come_together_again(kept: Path, name: str) -> None:
    """Both processes see the same whole, also of what was divided anew."""
    first, second = (load_file(kept / f"{name}-{rank}") for rank in (0, 1))
    for key in ("first", "again"):
        assert torch.equal(first["first"], second[key])
    assert torch.equal(first["again"], first["first"])
