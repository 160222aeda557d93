"""Types of arrays that most rooms share."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Features = npt.NDArray[np.float32]  # of images, as a network computes them
