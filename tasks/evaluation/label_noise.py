"""Labels that a network doubts with confidence, on images that it was not trained on.

Confident learning (Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, Journal
of Artificial Intelligence Research 70, 2021): an image belongs confidently to a class if its probability is at least
the mean one of the images labelled so. Where that class is another than the label, the label is suspect.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from tasks.arrays import Floats, Integers

SUREST = 1 / 4  # of the images


class Suspect(NamedTuple):
    """An image whose label is suspect.

    Attributes:
        image: its place among the images.
        given: its label.
        suggested: the class that it confidently belongs to.
        margin: the label's probability less that of the suggested class.
    """

    image: int
    given: int
    suggested: int
    margin: float


def suspects(targets: Integers, probabilities: Floats) -> list[Suspect]:
    """Return the images off the diagonal of the confident joint, those with the least margin first.

    Args:
        targets: labels as integers, shape (images,).
        probabilities: out-of-sample, shape (images, classes).
    """
    suggested = confident_classes(targets, probabilities)
    places = np.flatnonzero((suggested >= 0) & (suggested != targets))
    margins = probabilities[places, targets[places]] - probabilities[places, suggested[places]]
    return [
        Suspect(int(place), int(targets[place]), int(suggested[place]), float(margin))
        for place, margin in sorted(zip(places, margins, strict=True), key=lambda pair: (pair[1], pair[0]))
    ]


def confident_classes(targets: Integers, probabilities: Floats) -> Integers:
    """Return the class that each image confidently belongs to, the most probable of several; -1: to none."""
    thresholds = [
        probabilities[targets == c, c].mean() if (targets == c).any() else np.inf for c in range(probabilities.shape[1])
    ]
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    return np.where(confident.max(axis=1) >= 0, confident.argmax(axis=1), -1)


class SurelyWrong(NamedTuple):
    """Answers that contradict the labels although the network is sure of them.

    Attributes:
        wrong: number of them among the surest quarter of the images.
        errors: answers that contradict the labels among all images.
        p_value: probability of so many where errors dwindle with confidence.
    """

    wrong: int
    errors: int
    p_value: float


def surely_wrong(targets: Integers, probabilities: Floats) -> SurelyWrong:
    """Return whether errors are as frequent among sure answers as wrong labels make them.

    Where classes overlap, the share of errors dwindles with confidence. If it does so evenly, from the least sure image
    to none at the surest, the surest quarter has a sixteenth of the errors. Wrong labels are spread over all images.

    Args:
        targets: labels as integers, shape (images,).
        probabilities: out-of-sample, shape (images, classes).
    """
    contradicts = probabilities.argmax(axis=1) != targets
    surest = np.argsort(-probabilities.max(axis=1), kind="stable")[: int(SUREST * len(targets))]
    wrong, errors = int(contradicts[surest].sum()), int(contradicts.sum())
    return SurelyWrong(wrong, errors, float(stats.binom.sf(wrong - 1, errors, SUREST**2)))
