"""Which nodes of a Ray cluster may work, and which have room, without any cluster."""

from typing import Any

import pytest
import torch

from flows.cluster import inspection, node
from flows.cluster.cluster import Cluster
from tasks.errors import UserError
from tasks.params import load_params

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")


HERE = {"versions": {"torch": "2.0", "numpy": "1"}, "trains_on": "a CPU in float32", "machine": "x86_64 AVX2"}


@pytest.mark.parametrize(
    ("differs", "sentence"),
    [
        ({"versions": {"torch": "2.1", "numpy": "1"}}, "the node b has torch 2.1, and this process 2.0"),
        ({"versions": {"torch": "2.0"}}, "the node b has numpy none, and this process 1"),
        ({"trains_on": "a GPU in bfloat16"}, "the node b would train on a GPU in bfloat16, and the node a on a CPU in"),
    ],
)
def test_a_node_that_would_give_other_results_is_named(differs: dict[str, Any], sentence: str) -> None:
    """Other packages and another device are refused."""
    with pytest.raises(UserError, match=sentence):
        inspection.remarks({"a": HERE, "b": HERE | differs}, HERE)


@pytest.mark.parametrize(
    ("asked", "words"), [("float32", "a CPU in float32"), ("bfloat16", "a CPU in bfloat16"), ("auto", "a CPU")]
)
def test_a_precision_that_is_measured_later_is_not_told(
    asked: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node says what it trains on, and the precision only where it is known before the network is there."""
    params = load_params()
    train = params.train.model_copy(update={"precision": asked})
    monkeypatch.setattr("tasks.params.load_params", lambda: params.model_copy(update={"train": train}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert node.facts()["trains_on"] == words


def described(**resources: float) -> dict[str, Any]:
    """Return what is read of Ray's description of a node."""
    return {"Resources": resources}


def test_processes_of_one_training_get_a_node_that_has_room_for_all() -> None:
    """A GPU for each of them, or a CPU where there are more of them than threads."""
    alive = {"small": described(CPU=4.0, GPU=1.0), "large": described(CPU=8.0, GPU=4.0), "bare": described(CPU=2.0)}
    on_gpus = Cluster("", 1, {"full": 3}, frozenset({"full"}), {})
    assert list(inspection.large_enough(on_gpus, alive)) == ["large"]
    on_cpus = Cluster("", 1, {"full": 3}, frozenset(), {})
    assert list(inspection.large_enough(on_cpus, alive)) == ["small", "large"]


@pytest.mark.parametrize(
    ("on_gpu", "sentence"),
    [
        (frozenset({"full"}), "full is trained by 9 processes, .* no node .* more than 4 GPUs"),
        (frozenset(), "full is trained with 9 threads, .* no node .* more than 8 CPUs: set OMP_NUM_THREADS"),
    ],
)
def test_a_training_that_fits_on_no_node_is_named(on_gpu: frozenset[str], sentence: str) -> None:
    """With what the largest node has."""
    asked = Cluster("", 1, {"full": 9}, on_gpu, {})
    with pytest.raises(UserError, match=sentence):
        inspection.large_enough(asked, {"large": described(CPU=8.0, GPU=4.0)})


def test_another_processor_is_remarked_on() -> None:
    """It may round otherwise, which nobody can mend."""
    assert inspection.remarks({"a": HERE}, HERE) == []
    (remark,) = inspection.remarks({"a": HERE, "b": HERE | {"machine": "x86_64 AVX512"}}, HERE)
    assert "AVX512" in remark


@pytest.mark.parametrize("answer", [node.inspect("/nowhere", {}, 1), {"kernel": "of another machine", "facts": HERE}])
def test_a_node_that_cannot_work_is_named(answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that lacks the repository, or would write a database file of another machine."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"the node b (does not see /nowhere|is another machine.*'mlflow server')"):
        inspection.refuse_what_lacks({"a": {"kernel": node.kernel(), "facts": HERE}, "b": answer})
