"""The types of arrays that images are held in on their way from a file to a split."""

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # an image of shape (size, size, channels), or images with the first dimension theirs
Plane = npt.NDArray[np.float32]  # grey beyond 8 bits, of shape (size, size)
Values = npt.NDArray[Any]  # what a file holds, of any shape and type
Thumbnails = npt.NDArray[np.uint8]  # of shape (images, 32, 32)
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Pairs = npt.NDArray[np.int64]  # places of two images each, of shape (pairs, 2)
