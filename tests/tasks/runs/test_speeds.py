"""How fast a network is on this machine, as far as it does not depend on the machine."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tasks.runs import speeds
from tasks.runs.networks import Network
from tests.tasks.networks import SIZE, network, split_cells, strategy


def test_a_measurement_changes_nothing(cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part has its share of a step, each way of BatchNorm its seconds; random draws go on as they would have."""
    train, _ = split_cells(cells, tmp_path / "pixels.npy", 24)
    made: list[Network] = []

    def make(settings: Any, _: Any) -> Network:
        made.append(Network(*network("shufflenet_v2_x0_5", settings)))
        return made[-1]

    monkeypatch.setattr(speeds, "network", make)
    monkeypatch.setattr(speeds, "LEAST_SECONDS", 0.01)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    data: Any = SimpleNamespace(split=lambda _: train, size=SIZE, channels=1)
    measured = speeds.measured_speeds(data, strategy(train="all"), ["frozen", "train"])
    assert torch.equal(torch.get_rng_state(), before)
    assert len(made) == 1
    assert list(measured.shares) == [part.name for part in made[0].adapted.parts]
    assert sum(measured.shares.values()) == pytest.approx(1)
    assert min(measured.shares.values()) >= 0
    assert set(measured.steps) == {"frozen", "train"}
    assert min(measured.forward, *measured.steps.values()) > 0
