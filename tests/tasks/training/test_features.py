"""What reaches the head, whatever kind of layer it is."""

import pytest
from rich.console import Console

from tasks.training.features import features
from tasks.training.progress import Reporter
from tests.tasks.networks import network, strategy
from tests.tasks.training.conftest import CPU, Splits


@pytest.mark.parametrize(("name", "width"), [("squeezenet1_1", 512), ("shufflenet_v2_x0_5", 1024)])
def test_a_vector_an_image(splits: Splits, name: str, width: int) -> None:
    """A convolution as head is given maps, of which the features are the channels, not every position of them."""
    adapted, plan = network(name, strategy(train="head"), 1)
    computed = features(adapted, plan, splits.val, CPU, None, Reporter("test", Console(quiet=True)))
    assert computed.shape == (len(splits.val), width)
    assert computed.isfinite().all()
    assert float(computed.std(0).max()) > 0
