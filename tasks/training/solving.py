"""A linear head solved on frozen features, not walked to.

For fixed features x the training loss of a linear head is convex in its weights W and bias b. With the penalty
``strength / 2 * |W|^2`` on standardised features its minimum is unique, and L-BFGS (Liu and Nocedal, Mathematical
Programming 45, 1989) converges to it in some dozens of passes. The strengths form a path from strong to weak, each
solved from the one before (Friedman, Hastie and Tibshirani, Journal of Statistical Software 33, 2010); the validation
loss chooses among them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tasks.params import StrategyParams
from tasks.strategies.surgery import Adapted
from tasks.training.batches import Split
from tasks.training.features import features_of_head
from tasks.training.gradients import TrainingLoss, validation_loss
from tasks.training.inputs import Inputs
from tasks.training.job import TrainingJob
from tasks.training.progress import Reporter
from tasks.training.state import TrainingState

STRENGTHS = tuple(10 ** (power / 2) for power in range(2, -11, -1))  # 10 to 1e-5
ITERATIONS = 300
LEAST_SPREAD = 0.1  # of a feature, as a share of the others', so that one that hardly varies is not blown up
SLOPE = 1e-5  # of the loss by any weight, where the search ends


@dataclass(frozen=True)
class Solved:
    """A linear head.

    Attributes:
        weight: shape (classes, features).
        bias: shape (classes,).
        strength: of the penalty, as the validation loss chose it.
        train_loss: without the penalty.
        val_losses: by strength, from strong to weak.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    train_loss: float
    val_losses: dict[float, float]


def solve(
    features: Tensor, train: Split, val_features: Tensor, val: Split, classes: int, settings: StrategyParams
) -> Solved:
    """Return the linear head with the least regularised training loss.

    Args:
        features: of the training images in float32, shape (images, features), on the device that shall compute;
            standardised in place, as are the validation images'.
        train: their classes and weights.
        val_features: of the validation images.
        val: their classes.
        classes: number of the logits.
        settings: what the training loss corrects, and whether the validation loss treats classes alike.
    """
    mean, spread = features.mean(0), features.std(0, correction=0)
    scale = spread.clamp(min=max(LEAST_SPREAD * float(spread.square().mean().sqrt()), torch.finfo(torch.float32).tiny))
    for values in (features, val_features):
        values.sub_(mean).div_(scale)
    targets = train.targets.to(features.device)
    weights = None if train.weights is None else train.weights.to(features.device)
    loss = TrainingLoss(settings, train, classes, features.device)
    total = loss.total_weight(targets, weights) or 1.0
    weight = torch.zeros(classes, features.shape[1], device=features.device, requires_grad=True)
    bias = torch.zeros(classes, device=features.device, requires_grad=True)

    def training_loss() -> Tensor:
        return loss(features @ weight.T + bias, targets, weights) / total

    val_losses: dict[float, float] = {}
    best = (torch.inf, 0.0, 0.0, weight, bias)
    for strength in STRENGTHS:
        _minimise(training_loss, weight, bias, strength)
        with torch.no_grad():
            logits = (val_features @ weight.T + bias).cpu()
            val_losses[strength] = validation_loss(logits, val.targets, settings)
            if val_losses[strength] < best[0]:
                fitted = training_loss().item()
                best = (val_losses[strength], strength, fitted, weight.detach().clone(), bias.detach().clone())
    _, strength, fitted, weight, bias = best
    unscaled = weight / scale
    return Solved(unscaled, bias - unscaled @ mean, strength, fitted, val_losses)


def solve_head(adapted: Adapted, job: TrainingJob, state: TrainingState, inputs: Inputs, reporter: Reporter) -> float:
    """Put a network's head in its best place and return the training loss there; the processes share the work."""
    state.model.eval()
    train, val = (_features(adapted, job, inputs, split) for split in (job.train, job.val))
    solved = solve(train, job.train, val, job.val, adapted.classes, job.settings)
    solved = job.processes.broadcast(replace(solved, weight=solved.weight.cpu(), bias=solved.bias.cpu()))
    reporter.say(f"head solved, validation chose the strength {solved.strength:.2g}")
    state.set_head(solved.weight, solved.bias)
    return solved.train_loss


def _features(adapted: Adapted, job: TrainingJob, inputs: Inputs, split: Split) -> Tensor:
    """Return what reaches the head for every image of a split, on the device."""
    with features_of_head(adapted) as seen:
        count = len(inputs.local_answers(split))
    return job.processes.all_gather(seen[:count]).to(job.hardware.device)


def _minimise(training_loss: Callable[[], Tensor], weight: Tensor, bias: Tensor, strength: float) -> None:
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, tolerance_grad=SLOPE, tolerance_change=1e-9, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value: Tensor = training_loss() + strength / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
