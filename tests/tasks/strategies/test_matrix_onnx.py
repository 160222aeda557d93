"""A network from an ONNX file, fine-tuned in several ways."""

from pathlib import Path

import pytest

from tests.tasks.backbones.test_onnx_files import exported
from tests.tasks.strategies.matrix import Reader, check

pytest.importorskip("onnx2torch")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolutional network."""
    target = tmp_path_factory.mktemp("onnx") / "net.onnx"
    exported("mobilenet_v2", target)
    return target


@pytest.mark.parametrize("name", ["head_only", "last_stage", "full"])
def test_matrix(name: str, file: Path, reader: Reader, tmp_path: Path) -> None:
    """What trains moves, what is frozen is equal to the bit, and what was saved answers the same elsewhere."""
    check(str(file), name, reader, tmp_path)
