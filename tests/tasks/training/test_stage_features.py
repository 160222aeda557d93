"""What every stage answers, pooled, whatever kind of network it is."""

import pytest
import torch
from rich.console import Console

from tasks.training.features import features
from tasks.training.progress import Reporter
from tasks.training.stage_features import NO_STAGES, stage_features
from tests.tasks.networks import network, strategy
from tests.tasks.training.conftest import CPU, Splits


@pytest.mark.parametrize("name", ["mobilenet_v2", "shufflenet_v2_x0_5", "resnet18", "efficientnet_lite0", "swin_t"])
def test_a_vector_an_image_of_every_stage(splits: Splits, name: str) -> None:
    """Maps and tokens are averaged over their places; stages tell images apart."""
    adapted, _ = network(name, strategy(train="head"), 1)
    stages = stage_features(adapted, splits.val, CPU)
    assert len(stages) == sum(part.name not in NO_STAGES for part in adapted.parts)
    for stage in stages:
        assert stage.shape[0] == len(splits.val)
        assert stage.dim() == 2
        assert stage.isfinite().all()
        assert float(stage.std(0).max()) > 0


def test_the_last_is_what_the_head_is_given(splits: Splits) -> None:
    """Where nothing but the mean lies between them."""
    adapted, plan = network("mobilenet_v2", strategy(train="head"), 1)
    last = stage_features(adapted, splits.val, CPU)[-1]
    given = features(adapted, plan, splits.val, CPU, None, Reporter("test", Console(quiet=True)))
    torch.testing.assert_close(last, given, rtol=1e-3, atol=1e-4)
