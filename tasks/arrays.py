"""Types of arrays that the rooms share."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]  # what a file holds, of any shape and type

Pixels = npt.NDArray[np.uint8]  # an image of shape (size, size, channels), or images with the first dimension theirs
Plane = npt.NDArray[np.float32]  # grey beyond 8 bits, of shape (size, size)
Thumbnails = npt.NDArray[np.uint8]  # of shape (images, 32, 32)
Pairs = npt.NDArray[np.int64]  # places of two images each, of shape (pairs, 2)
Features = npt.NDArray[np.float32]  # of images, as a network computes them, of shape (images, features)
