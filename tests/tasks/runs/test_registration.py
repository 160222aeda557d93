"""What a champion is told of how files are read."""

from pathlib import Path

import numpy as np
from PIL import Image

from tasks.data.decoding import DeepGrey
from tasks.data.reading import read
from tasks.params import DataParams
from tasks.runs.registration import as_files_are_read


def test_a_champion_reads_files_as_they_were_prepared(tmp_path: Path) -> None:
    """Size, background and range are those of the params, wherever the images came from."""
    data = DataParams(
        source="manifest", path="table.csv", size=24, background="red", range=(10, 900), upright=False, max_bytes=5000
    )
    told = as_files_are_read(data, 24)
    Image.fromarray(np.full((40, 30, 4), (0, 0, 0, 128), dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)).save(tmp_path / "b.tif")
    for name in ("a.png", "b.tif"):
        trained, asked = (read(tmp_path, name, params, 3)[1] for params in (data, told))
        pixels = [one.plane if isinstance(one, DeepGrey) else one for one in (trained, asked)]
        assert np.array_equal(*pixels)
    assert (told.range, told.is_upright, told.max_bytes) == (data.range, data.is_upright, data.max_bytes)
