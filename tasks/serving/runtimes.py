"""What answers images: a network in this process, or the files of an export by their runtimes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks.arrays import Floats, Pixels

INPUT, OUTPUT = "images", "probabilities"

Infer = Callable[[Pixels], Floats]  # from (images, channels, size, size) to (images, classes)


def of_torch(model: Callable[[Tensor], Tensor]) -> Infer:
    """Return what answers by a network of this process."""

    def infer(images: Pixels) -> Floats:
        with torch.no_grad():
            return model(torch.from_numpy(images)).numpy()

    return infer


def of_torch_export(file: Path) -> Infer:
    """Return what answers by a program that ``torch.export`` wrote."""
    return of_torch(torch.export.load(file).module())


def of_onnx(file: Path) -> Infer:
    """Return what answers by an ONNX file: ONNX Runtime, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def infer(images: Pixels) -> Floats:
        answer: Floats = session.run([OUTPUT], {INPUT: images})[0]
        return answer

    return infer


def in_batches(infer: Infer, images: Pixels) -> Floats:
    """Return the answers to images, the first of which is a batch of its own: the batch is no fixed size."""
    cuts = range(1, len(images), 16)
    return np.concatenate([infer(batch) for batch in np.split(images, list(cuts))])
