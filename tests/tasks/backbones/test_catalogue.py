"""Each network is of one library, by its name."""

import pytest

from tasks.backbones import catalogue, custom_module, onnx_files, timm_models, torchvision_models


@pytest.mark.parametrize(
    ("name", "module", "packages"),
    [
        ("resnet18", torchvision_models, []),
        ("timm/resnet18", timm_models, ["timm"]),
        ("nets.small:net", custom_module, []),
        ("nets/small.onnx", onnx_files, ["onnx", "onnx2torch", "onnxruntime", "onnxscript"]),
        ("C:/nets/small.onnx", onnx_files, ["onnx", "onnx2torch", "onnxruntime", "onnxscript"]),
    ],
)
def test_name_says_which_library(name: str, module: object, packages: list[str]) -> None:
    """What has to be installed follows from it; a drive's letter makes no module of a file."""
    assert catalogue.library_of(name).find is vars(module)["find"]
    assert catalogue.packages(name) == packages
