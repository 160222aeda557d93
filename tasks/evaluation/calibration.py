"""Whether probabilities mean what they say, and the one number that mends them.

Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
"""

from dataclasses import dataclass
from math import exp, log

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest

from tasks.arrays import Floats, Integers
from tasks.evaluation.metrics import CALIBRATION_BINS, LEAST_PROBABILITY, confidence_bins

LOWEST, HIGHEST = 0.05, 1000.0  # temperatures that a fit can give


@dataclass(frozen=True)
class Bin:
    """The images whose confidence, the probability of the answer, lies in one stretch.

    Attributes:
        low, high: the stretch; ``low`` belongs to it, ``high`` only where it is 1.
        images: number of images.
        confidence: their mean confidence.
        accuracy: share of them that are answered right.
        accuracy_low, accuracy_high: Wilson interval of the accuracy.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def fit_temperature(probabilities: Floats, targets: Integers) -> float:
    """Return the temperature with the smallest negative log-likelihood, to be fitted on the validation split.

    Above 1 the probabilities were too sure of themselves, below 1 not sure enough. Where every answer is right the
    loss falls all the way to temperature 0, and no image says where to stop: the temperature is 1 then.

    Args:
        probabilities: shape (images, classes), rows that sum to one; 0 and 1 are allowed.
        targets: classes as integers, shape (images,).

    Returns:
        The temperature, from ``LOWEST`` to ``HIGHEST``.
    """
    if (probabilities.argmax(axis=1) == targets).all():
        return 1.0
    logits, places = _logits(probabilities), np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(logits / exp(log_temperature), axis=1)[places, targets].mean())

    best = minimize_scalar(loss, bounds=(log(LOWEST), log(HIGHEST)), method="bounded")
    return exp(best.x) if best.fun < loss(0.0) else 1.0


def scaled(probabilities: Floats, temperature: float) -> Floats:
    """Return the probabilities at a temperature, shape (images, classes); the order of the classes stays.

    Args:
        probabilities: shape (images, classes), rows that sum to one.
        temperature: above 0; 1 changes nothing, more makes the classes more alike.
    """
    tempered: Floats = softmax(_logits(probabilities) / temperature, axis=1)
    return tempered


def reliability(
    targets: Integers, probabilities: Floats, bins: int = CALIBRATION_BINS, level: float = 0.95
) -> list[Bin]:
    """Return confidence and accuracy over the equal-width bins of the expected calibration error.

    Args:
        targets: classes as integers, shape (images,).
        probabilities: shape (images, classes), rows that sum to one.
        bins: number of bins between 0 and 1.
        level: confidence level of the intervals (Wilson, Journal of the American Statistical Association, 1927).

    Returns:
        The bins that have images, by rising confidence.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == targets
    bin_of = confidence_bins(confidence, bins)
    filled = []
    for place in np.unique(bin_of):
        inside = bin_of == place
        images, right = int(inside.sum()), int(correct[inside].sum())
        interval = binomtest(right, images).proportion_ci(level, method="wilson")
        filled.append(
            Bin(
                low=float(place / bins),
                high=float((place + 1) / bins),
                images=images,
                confidence=float(confidence[inside].mean()),
                accuracy=right / images,
                accuracy_low=float(interval.low),
                accuracy_high=float(interval.high),
            )
        )
    return filled


def _logits(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, LEAST_PROBABILITY))
