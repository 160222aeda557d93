"""The section ``data``: where images may lie."""

from pathlib import Path

import pytest

from tests.tasks.params.files import refusal, written


def test_own_images_never_lie_where_fetched_ones_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the folder is written: what is in it would be lost."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/fetched/photos").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data/fetched/photos")
    for path in ("data/fetched/photos", tmp_path / "data/fetched/photos", "data/../data/fetched", tmp_path / "link"):
        said = refusal(written(tmp_path, data={"source": "folder", "path": str(path)}))
        assert "is in data/fetched, which holds what is fetched" in said
