"""What was measured is remembered, and what gains is chosen."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.engines import speeds
from tasks.engines.speeds import Measured, Speeds, remembered
from tasks.engines.ways import PRECISIONS, WAYS, Precision, native_precisions
from tasks.files import read_json
from tasks.training.choosing import hardware_before, measure
from tests.tasks.engines.test_answering import network_of
from tests.tasks.networks import strategy

KEY: dict[str, str | int] = {"network": "resnet18", "size": 64, "channels": 3}
MEASURED: Measured = ({"eager float32": 1.0, "fused bfloat16": 9.0}, {"float32": 1.0, "bfloat16": 2.0})


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/work").mkdir(parents=True)
    return tmp_path / "data/work"


def fails() -> Measured:
    """Measure where nothing may be measured."""
    raise AssertionError("measured again")


def test_what_was_measured_is_remembered_by_later_processes(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file keeps it, which says of what it is; another network or size is measured anew."""
    first = remembered(KEY, lambda: MEASURED)
    monkeypatch.setattr(speeds, "_KNOWN", {})
    assert remembered(KEY, fails) == first
    (file,) = (work / "engines").iterdir()
    assert read_json(file)["measured"]["network"] == "resnet18"
    with pytest.raises(AssertionError, match="again"):
        remembered({**KEY, "size": 96}, fails)


def test_what_another_process_measured_meanwhile_holds(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes of a machine go by the first measurement."""

    def measured_elsewhere() -> Measured:
        remembered(KEY, lambda: MEASURED)
        monkeypatch.setattr(speeds, "_KNOWN", {})
        return {"eager float32": 5.0}, {"float32": 5.0}

    assert remembered(KEY, measured_elsewhere).forward == MEASURED[0]


def test_without_a_working_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a model is served there is none: the process remembers."""
    monkeypatch.chdir(tmp_path)
    remembered(KEY, lambda: MEASURED)
    remembered(KEY, fails)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("work")
def test_the_choice_that_is_remembered_is_used() -> None:
    """Training and answers go by it, as far as the settings leave it open."""
    remembered(KEY, lambda: MEASURED)

    def no_network() -> None:
        raise AssertionError("built again")

    chosen = {
        precision: hardware_before("resnet18", no_network, strategy(train="all", precision=precision), 64, 3)  # type: ignore[arg-type]
        for precision in ("auto", "float32")
    }
    assert (chosen["auto"].precision, str(chosen["auto"].way)) == ("bfloat16", "fused bfloat16")
    assert (chosen["float32"].precision, str(chosen["float32"].way)) == ("float32", "eager float32")


@pytest.mark.parametrize("precisions", [PRECISIONS, ("float32",)])
def test_a_measurement_has_every_way_and_leaves_the_network_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], precisions: tuple[Precision, ...]
) -> None:
    """All ways of answering and all precisions of training that the processor has have a speed; nothing is said."""
    if not set(precisions) <= set(native_precisions()):
        pytest.skip("this processor has no bfloat16")
    monkeypatch.setattr("tasks.training.choosing.native_precisions", lambda: precisions)
    model, _ = network_of("resnet18")
    forward, steps = measure(model, 64, 3)
    assert set(forward) == {str(way) for way in WAYS if way.precision in precisions}
    assert set(steps) == set(precisions)
    assert capsys.readouterr().out == ""
    assert min(*forward.values(), *steps.values()) > 0
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(("float32", "trains_in"), [(0.9, "bfloat16"), (1.05, "bfloat16"), (1.2, "float32")])
def test_training_rounds_unless_float32_gains_by_more_than_its_memory_is_worth(float32: float, trains_in: str) -> None:
    """Twice the memory of activations has to pay."""
    measured = Speeds(measured={}, forward={}, steps={"float32": float32, "bfloat16": 1.0})
    assert measured.training(PRECISIONS) == trains_in
    assert measured.training(("float32",)) == "float32"


@given(st.lists(st.floats(0.1, 1000), min_size=4, max_size=4))
def test_no_way_is_chosen_that_is_slower_than_the_network_itself(values: list[float]) -> None:
    """Of either precision and of both, whatever was measured."""
    measured = Speeds(measured={}, forward=dict(zip(map(str, WAYS), values, strict=True)), steps={})
    for allowed in (PRECISIONS, ("float32",), ("bfloat16",)):
        way = measured.way(allowed)  # type: ignore[arg-type]
        assert way.precision in allowed
        eager = measured.forward[f"eager {allowed[0]}"]
        assert measured.forward[str(way)] >= eager
