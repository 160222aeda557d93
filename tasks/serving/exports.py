"""The champion as files for other runtimes: from pixels to calibrated probabilities in one graph, without this project.

Both files take the pixels as they are; normalisation and temperature are in the graph. What they answer is compared
with the network itself on real images before anybody gets them.
"""

import io
import math
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasks.arrays import Floats, Pixels
from tasks.errors import UserError, reason_of
from tasks.evaluation.latency import milliseconds
from tasks.evaluation.metrics import LEAST_PROBABILITY
from tasks.files import sha256_of, write_json
from tasks.record import Record
from tasks.serving.champion import Champion
from tasks.serving.runtimes import INPUT, OUTPUT, Infer, in_batches, of_onnx, of_torch, of_torch_export
from tasks.training.tta import mean_logits

ONNX, TORCH, FACTS = "model.onnx", "model.pt2", "export.json"
LIBRARIES = "onnx, onnxruntime and onnxscript"
TOLERANCE = 1e-3  # of a probability
LARGEST_MESSAGE = 2**31 - 2**20  # bytes that protobuf writes into one file, less some for the graph


class Form(Record):
    """The champion in one form.

    Attributes:
        files: SHA-256 by name; none for the network in this process.
        bytes: of the files; of the tensors for the network in this process.
        milliseconds: for one image, see ``tasks.evaluation.latency``.
        difference: the largest of a probability from that of the network in float32.
        other_labels: images with another most probable class.
    """

    files: dict[str, str]
    bytes: int
    milliseconds: float
    difference: float
    other_labels: int


class Export(Record):
    """What was exported.

    Attributes:
        strategy, run_id: of the champion.
        classes: names in the order of the answers.
        input, output: of the graph.
        images: number of images that the forms were compared on.
        tolerance: that no difference is above.
        threads: of every runtime while it was timed.
        forms: ``torch`` (the network in this process), ``onnx`` and ``torch_export``.
        served_difference, served_other_labels: of what the champion answers in the precision that it runs in here.
    """

    version: int = 1
    strategy: str
    run_id: str
    classes: list[str]
    input: dict[str, Any]
    output: dict[str, Any]
    images: int
    tolerance: float
    threads: int
    forms: dict[str, Form]
    served_difference: float
    served_other_labels: int


class Deployable(nn.Module):
    """A champion from pixels to calibrated probabilities, in float32."""

    def __init__(self, champion: Champion) -> None:
        super().__init__()
        self.network = champion.adapted.model
        self._normalisation = champion.adapted.normalisation
        self._temperature = champion.facts.temperature
        self._flips = champion.flips

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities of shape (batch, classes) for uint8 images of shape (batch, channels, size, size)."""
        answers = mean_logits(self.network, self._normalisation(images), self._flips)
        logits = answers.log_softmax(1).clamp(min=math.log(LEAST_PROBABILITY))
        probabilities: Tensor = (logits / self._temperature).softmax(1)
        return probabilities


def check_libraries() -> None:
    """Raise if a library that exports need is not there.

    Raises:
        UserError: names the libraries and how to install them.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"an export needs {LIBRARIES}: pip install -e '.[onnx]'") from error


def export(champion: Champion, pixels: Pixels, folder: Path, tolerance: float = TOLERANCE) -> Export:
    """Write a champion as ``model.onnx``, ``model.pt2`` and ``export.json`` into a folder.

    Args:
        champion: what is exported.
        pixels: images to compare the files on, uint8 of shape (images, size, size, channels).
        folder: is made.
        tolerance: that no probability may differ by more.

    Raises:
        UserError: a library is missing, the network can't be exported, or a file answers otherwise than the network.
    """
    check_libraries()
    served = champion.answer(pixels).probabilities
    model = Deployable(champion).cpu().eval().requires_grad_(False)
    model = model.to(memory_format=torch.contiguous_format)
    images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    folder.mkdir(parents=True)
    try:
        _write(model, torch.from_numpy(images[:1]).expand(2, -1, -1, -1), folder)
        expected = in_batches(of_torch(model), images)
        state = model.state_dict()
        forms = {
            "torch": _form(of_torch(model), images, expected, {}, sum(tensor.nbytes for tensor in state.values())),
            "onnx": _of_files(of_onnx(folder / ONNX), images, expected, folder, ONNX),
            "torch_export": _of_files(of_torch_export(folder / TORCH), images, expected, folder, TORCH),
        }
    except Exception as error:  # whatever the exporters and the runtimes raise
        name = champion.facts.backbone["name"]
        raise UserError(f"the champion's network {name} can't be exported: {reason_of(error)}") from error
    for form in forms.values():
        if not form.difference <= tolerance:
            raise UserError(
                f"{' and '.join(form.files)} answers otherwise than the network: a probability differs by "
                f"{form.difference:.2g}, where {tolerance:g} is allowed; nothing was exported"
            )
    exported = _facts(champion, images, forms, tolerance, served - expected, _other_labels(served, expected))
    write_json(folder / FACTS, exported.model_dump(mode="json"))
    return exported


def _facts(
    champion: Champion, images: Pixels, forms: dict[str, Form], tolerance: float, served: Floats, other_labels: int
) -> Export:
    facts = champion.facts
    shape = list(images.shape[1:])
    return Export(
        strategy=facts.strategy,
        run_id=facts.run_id,
        classes=facts.classes,
        input={
            "name": INPUT,
            "dtype": "uint8",
            "shape": ["batch", *shape],
            "axes": "batch, channels, height, width",
            "range": [0, 255],
            "channels": {1: "grey", 2: "grey and alpha", 3: "RGB", 4: "RGBA"}.get(shape[0], f"{shape[0]}"),
            "resized": "bilinear, with Pillow",
        },
        output={"name": OUTPUT, "dtype": "float32", "shape": ["batch", len(facts.classes)]},
        images=len(images),
        tolerance=tolerance,
        threads=torch.get_num_threads(),
        forms=forms,
        served_difference=float(np.abs(served).max()),
        served_other_labels=other_labels,
    )


def _write(model: nn.Module, example: Tensor, folder: Path) -> None:
    """Write both files; the exporter's own messages go nowhere."""
    batch = {INPUT: {0: "batch"}}
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.export.export(model, (example,), dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}})
        torch.export.save(program, folder / TORCH)
        size = sum(tensor.nbytes for tensor in program.state_dict.values())
        torch.onnx.export(
            program, (), folder / ONNX, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], dynamic_shapes=batch,
            external_data=size > LARGEST_MESSAGE, verbose=False,
        )  # fmt: skip


def _of_files(infer: Infer, images: Pixels, expected: Floats, folder: Path, name: str) -> Form:
    files = sorted(folder.glob(f"{name}*"))
    digests = {file.name: sha256_of(file) for file in files}
    return _form(infer, images, expected, digests, sum(file.stat().st_size for file in files))


def _form(infer: Infer, images: Pixels, expected: Floats, files: dict[str, str], size: int) -> Form:
    answers = in_batches(infer, images)
    difference = np.abs(answers - expected).max() if np.isfinite(answers).all() else math.inf
    return Form(
        files=files,
        bytes=size,
        milliseconds=milliseconds(lambda: infer(images[:1])),
        difference=float(difference),
        other_labels=_other_labels(answers, expected),
    )


def _other_labels(answers: Floats, expected: Floats) -> int:
    return int((answers.argmax(axis=1) != expected.argmax(axis=1)).sum())
