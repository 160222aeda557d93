"""A network's frozen beginning is kept apart where that saves more than it costs."""

from tasks.strategies import freezing
from tasks.strategies.thaw_line import names_that_train
from tasks.training.frozen_trunk import frozen_trunk
from tests.tasks.networks import SIZE, network, strategy
from tests.tasks.training.conftest import CPU


def test_a_small_saving_is_not_worth_the_disk() -> None:
    """The stem's large maps are computed faster than they are read."""
    adapted, plan = network("mobilenet_v2", strategy(train=["stages", "head"]))
    freezing.apply(plan, adapted.model, 0, update_statistics=False)
    assert frozen_trunk(adapted, names_that_train(plan, 0), SIZE, 1, CPU) is None
