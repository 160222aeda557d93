"""A cluster that can't be joined, without any cluster."""

from types import SimpleNamespace
from typing import Any

import pytest

from flows.cluster.connection import connected
from tasks.errors import UserError
from tests.support.ports import free_port

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")


def test_a_cluster_that_is_not_there_is_one_sentence() -> None:
    """It says which, and how to start one."""
    params: Any = SimpleNamespace(run=SimpleNamespace(ray=f"127.0.0.1:{free_port()}"))
    with pytest.raises(UserError, match=rf"{params.run.ray}.*run 'ray start --head'"), connected(params, print):
        pass
