"""A network's frozen beginning is kept apart where that saves more than it costs."""

from dataclasses import replace

import torch

from tasks.engines.ways import WAYS
from tasks.strategies import freezing
from tasks.strategies.thaw_line import names_that_train
from tasks.training.frozen_trunk import frozen_trunk
from tasks.training.out_of_place import out_of_place
from tests.tasks.networks import SIZE, network, strategy
from tests.tasks.training.conftest import CPU


def test_a_small_saving_is_not_worth_the_disk() -> None:
    """The stem's large maps are computed faster than they are read."""
    adapted, plan = network("mobilenet_v2", strategy(train=["stages", "head"]))
    freezing.apply(plan, adapted.model, 0, update_statistics=False)
    assert frozen_trunk(adapted, names_that_train(plan, 0), SIZE, 1, CPU) is None


def test_what_is_kept_is_of_one_engine() -> None:
    """Each way answers much the same, in the type that training takes; what one answered is not taken for another's."""
    adapted, plan = network("mobilenet_v2", strategy(train="head"))
    freezing.apply(plan, adapted.model, 0, update_statistics=False)
    images = torch.randint(0, 256, (4, 1, SIZE, SIZE), dtype=torch.uint8)
    digests, answers = set(), []
    for way in WAYS:
        trunk = frozen_trunk(adapted, names_that_train(plan, 0), SIZE, 1, replace(CPU, engine=way))
        assert trunk
        digests.add(trunk.digest())
        answers.append(trunk.compute_filled_up(images))
    assert len(digests) == len(WAYS)
    assert {answer.dtype for answer in answers} == {torch.float32}
    assert all((answer - answers[0]).norm() <= 0.1 * answers[0].norm() for answer in answers)


def test_a_probe_keeps_what_training_takes() -> None:
    """Activations in place or not, as in training, answer the same: the store that one filled is the other's."""
    adapted, plan = network("mobilenet_v2", strategy(train="head"))
    freezing.apply(plan, adapted.model, 0, update_statistics=False)

    def digest() -> str:
        trunk = frozen_trunk(adapted, names_that_train(plan, 0), SIZE, 1, CPU)
        assert trunk
        return trunk.digest()

    answering = digest()
    with out_of_place(adapted.model):
        assert digest() == answering
