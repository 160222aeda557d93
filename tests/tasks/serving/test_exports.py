"""Exports of the champion: the files alone answer as the champion does, and are handed over only if they do."""

import json
import sys
from collections.abc import Callable
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from tasks.arrays import Pixels
from tasks.errors import UserError
from tasks.params import DataParams
from tasks.serving import export_table, exports
from tasks.serving.champion import Champion, Facts
from tasks.serving.exports import Deployable, Export, export
from tasks.steps.export import check, export_champion
from tasks.tracking import registry
from tests.tasks.networks import split_cells, strategy
from tests.tasks.strategies.pretrained import SIZE, adapt

pytestmark = pytest.mark.slow

onnxruntime = pytest.importorskip("onnxruntime")
CLASSES = ["broken", "intact", "poly"]


@pytest.fixture(scope="module")
def pixels(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Pixels:
    """Twenty real images of another size than the champions were trained on, in three channels."""
    split, _ = split_cells(cells, tmp_path_factory.mktemp("pixels") / "pixels.npy", 10)
    return np.repeat(split.store[split.rows], 3, axis=3).repeat(2, axis=1).repeat(2, axis=2)


@cache
def champion(name: str, temperature: float = 1.7) -> Champion:
    """Return a champion with weights that answer unlike for unlike images."""
    settings = strategy(train="all")
    adapted = adapt(name, classes=len(CLASSES), device="cpu", precision="float32")
    with torch.no_grad():
        for tensor in adapted.model.get_submodule(adapted.head).parameters():
            tensor.mul_(5)
    facts = Facts(
        strategy="full", classes=CLASSES, channels=3, data=DataParams(source="folder", path=".", size=SIZE),
        ranges={}, settings=settings, backbone={"name": name}, temperature=temperature, farthest=1.0, run_id="run",
        data_digest="digest",
    )  # fmt: skip
    width = adapted.model.get_submodule(adapted.head).weight.shape[1]
    return Champion(facts, adapted, np.zeros((1, width), dtype=np.float32))  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["shufflenet_v2_x0_5", "vit_b_16"])
def exported(request: pytest.FixtureRequest, pixels: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A champion, the folder of its export, and what was measured."""
    folder = tmp_path_factory.mktemp("exports") / request.param
    return champion(request.param), folder, export(champion(request.param), pixels, folder)


def runtimes(folder: Path) -> dict[str, Callable[[Pixels], Any]]:
    """Return what other programs make of the files, as docs/use/champion.md says."""
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    program = torch.export.load(folder / "model.pt2").module()
    return {
        "onnx": lambda images: session.run(None, {"images": images})[0],
        "torch_export": lambda images: program(torch.from_numpy(images)).detach().numpy(),
    }


def test_the_files_alone_answer_as_the_champion(exported: tuple[Champion, Path, Export], pixels: Pixels) -> None:
    """From raw pixels to calibrated probabilities, for any number of images."""
    made, folder, record = exported
    expected = made.answer(pixels).probabilities
    assert np.ptp(expected, axis=0).max() > 0.02, "the images are told apart"
    images = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    for name, infer in runtimes(folder).items():
        for count in (1, 7, len(images)):
            answers = infer(images[:count])
            np.testing.assert_allclose(answers, expected[:count], atol=1e-5, err_msg=f"{name} {count}")
        assert record.forms[name].difference < 1e-5
        assert record.forms[name].other_labels == 0


def test_the_facts_tell_how_to_use_the_files(exported: tuple[Champion, Path, Export]) -> None:
    """Classes, input, sizes and latencies are in ``export.json`` and in the table."""
    _, folder, record = exported
    assert Export.model_validate_json((folder / "export.json").read_text()) == record
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert [given.name, given.shape, given.type] == [record.input["name"], record.input["shape"], "tensor(uint8)"]
    assert [answer.name, answer.shape] == [record.output["name"], record.output["shape"]]
    assert record.classes == CLASSES
    for form in record.forms.values():
        assert form.milliseconds > 0
        assert form.bytes >= sum((folder / name).stat().st_size for name in form.files)
    shown = StringIO()
    export_table.show(record, Console(file=shown, width=80))
    for word in ("model.onnx", "model.pt2", f"{record.forms['onnx'].milliseconds:.2f}"):
        assert word in shown.getvalue()


def test_extreme_temperatures_are_in_the_graph(pixels: Pixels) -> None:
    """Where probabilities are cut off before they are scaled, what is exported does as the champion does."""
    hot = champion("shufflenet_v2_x0_5", 40.0)
    with torch.no_grad():
        hot.adapted.model.get_submodule(hot.adapted.head).weight.mul_(300)  # type: ignore[operator, union-attr]
    expected = hot.answer(pixels).probabilities
    assert 0.1 < expected.min() < 0.3, "far from what the logits alone would give"
    with torch.no_grad():
        answers = Deployable(hot)(torch.from_numpy(pixels.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_files_that_answer_otherwise_are_not_handed_over(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with the difference, and nothing is written."""
    monkeypatch.setattr(registry, "folder_of", Path)
    monkeypatch.setattr(Champion, "read", lambda _: champion("shufflenet_v2_x0_5"))
    monkeypatch.setattr(exports, "of_onnx", lambda _: lambda images: np.full((len(images), 3), 0.9, dtype=np.float32))
    with pytest.raises(UserError, match=r"model\.onnx answers otherwise .* differs by 0\.\d+, where 0\.001 is allowed"):
        export_champion(tmp_path / "wrong", "models:/some", cells / "broken")
    assert not any(tmp_path.iterdir())


def test_network_that_depends_on_its_values_is_one_sentence(pixels: Pixels, tmp_path: Path) -> None:
    """What the exporter can't follow is said in a sentence."""
    made = champion("shufflenet_v2_x0_5")
    handle = made.adapted.model.register_forward_hook(lambda _, __, logits: logits if logits.sum() > 0 else -logits)
    try:
        with pytest.raises(UserError, match=r"shufflenet_v2_x0_5 can't be exported: ") as caught:
            export(made, pixels, tmp_path / "branching")
    finally:
        handle.remove()
    assert "\n" not in str(caught.value)


def test_foreign_folders_stay(tmp_path: Path) -> None:
    """Only an export, or nothing, is written over."""
    check(tmp_path / "new")
    (tmp_path / "export.json").write_text(json.dumps({}))
    check(tmp_path)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"such as thesis\.txt"):
        check(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        check(tmp_path / "thesis.txt")


@pytest.mark.parametrize("library", ["onnx", "onnxruntime", "onnxscript"])
def test_missing_library_is_named(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence says what to install."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[onnx\]'"):
        check(tmp_path / "new")
