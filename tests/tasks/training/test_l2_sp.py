"""L2-SP pulls weights back to where they started."""

import torch
from torch import nn

from tasks.strategies import planning
from tasks.training.l2_sp import L2SP
from tests.tasks.networks import network, strategy
from tests.tasks.training.conftest import Job, MakeJob


def test_the_pull_is_the_gradient_of_the_penalty() -> None:
    """Autograd's gradient of strength / 2 * (w - start)^2 is added; what has no gradient is left alone."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    point = L2SP(model, ["0.weight", "1.weight"], 0.3)
    start = model[0].weight.detach().clone()  # type: ignore[operator, union-attr]
    weight = model.get_parameter("0.weight")
    with torch.no_grad():
        weight.add_(torch.randn(3, 3))
    weight.grad = torch.zeros(3, 3)
    point.pull()
    pulled = weight.grad.clone()
    weight.grad = None
    (0.15 * (weight - start).square().sum()).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(pulled, weight.grad)
    assert model.get_parameter("1.weight").grad is None


def test_only_pretrained_weights_are_pulled() -> None:
    """A new head, inserted stages and adapters have no value to go back to."""
    adapted, plan = network("resnet18", strategy(train=["stage4", "head"]))
    names = planning.pretrained(plan, adapted)
    assert names
    assert all(name.startswith("layer4.") for name in names)
    adapted, plan = network("resnet18", strategy(train=["stage4", "head"], insert=1))
    assert set(planning.pretrained(plan, adapted)) == set(names)


def distance(made: Job) -> float:
    """Return how far a training moved the pretrained weights."""
    names = planning.pretrained(made.training_job.plan, made.adapted)
    before = made.state()
    made.fit()
    after = made.state()
    return sum(float((after[name] - before[name]).square().sum()) for name in names) ** 0.5


def test_a_strong_pull_keeps_weights_near_their_start(job: MakeJob) -> None:
    """The stronger the pull, the less far the weights go."""
    settings = {"train": "all", "lr": 0.05, "epochs": 3, "optimizer": "sgd", "batchnorm": "train", "momentum": 0.0}
    far, nearer, near = (distance(job(place=f"{pull}", l2_sp=pull, **settings)) for pull in (0.0, 1.0, 8.0))
    assert far > nearer > near
