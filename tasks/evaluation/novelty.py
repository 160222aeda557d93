"""Images unlike those that a network was trained on, by the distance of their features.

Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from tasks.arrays import Features

NEIGHBOURS = 5
FAMILIAR_SHARE = 0.99  # of the validation images, which are like those that were trained on


@dataclass(frozen=True)
class Familiar:
    """What is known.

    Attributes:
        features: of images that were trained on, each of length 1: shape (images, features).
        farthest: the distance to the fifth nearest of them that counts as known.
    """

    features: Features
    farthest: float

    def distances(self, features: Features) -> Features:
        """Return the distance of images to the fifth nearest known one, shape (images,), for features of any length."""
        count = min(NEIGHBOURS, len(self.features))
        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(self.features)
        farthest: Features = search.kneighbors(normalize(features))[0][:, -1]
        return farthest


def familiar(trained_on: Features, held_out: Features) -> Familiar:
    """Return what is known from images that were trained on, and from others of the same kind.

    Args:
        trained_on, held_out: features, shape (images, features).
    """
    rounded = normalize(trained_on).astype(np.float16).astype(np.float32)  # as they are stored
    known = Familiar(rounded, np.inf)
    return Familiar(known.features, float(np.quantile(known.distances(held_out), FAMILIAR_SHARE)))
