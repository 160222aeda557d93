"""The section ``run``: the addresses of a cluster."""

from pathlib import Path

from tasks.params import load_params
from tests.tasks.params.files import refusal, written


def test_a_cluster_is_named_by_its_address(tmp_path: Path) -> None:
    """In any of Ray's ways; nothing else is taken for one, and the default is none."""
    assert load_params(written(tmp_path)).run.ray is None
    for address in ("auto", "local", "10.0.0.1:6379", "gpu-box.example:6379", "[fe80::1]:6379", "ray://head:10001"):
        assert load_params(written(tmp_path, run={"ray": address})).run.ray == address
    for wrong in ("head", "http://head:8265", "head:99999", "ray://head", "10.0.0.1:6379/x", True):
        assert "'run.ray'" in refusal(written(tmp_path, run={"ray": wrong}))
