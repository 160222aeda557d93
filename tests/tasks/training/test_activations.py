"""The store of activations: what comes out is what went in, or it is made anew."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.training import activations
from tasks.training.activations import Cache, Form, NoSpaceError, Store

IMAGES = 9
MAPS = Form((3, 2, 5), torch.bfloat16)


def some(form: Form, count: int, seed: int = 0) -> torch.Tensor:
    """Return activations of a form."""
    values = torch.randn(count, *form.shape, generator=torch.Generator().manual_seed(seed))
    return values.to(form.dtype)


@pytest.fixture
def filled(tmp_path: Path) -> tuple[Store, torch.Tensor]:
    """A store with the activations of every image but the last."""
    values, store = some(MAPS, IMAGES), Store(tmp_path / "key.activations", IMAGES, MAPS)
    store.put(np.arange(IMAGES - 1), values[:-1])
    return store, values


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    order=st.permutations(range(IMAGES)),
)
def test_any_form_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], dtype: torch.dtype, order: list[int]
) -> None:
    """Each row gives what was put there, in whichever order rows are written and read."""
    form = Form(shape, dtype)
    store, values = Store(tmp_path_factory.mktemp("any") / "key.activations", IMAGES, form), some(form, IMAGES)
    rows = np.array(order)
    store.put(rows, values[torch.from_numpy(rows)])
    assert not len(store.missing(rows))
    assert torch.equal(store.take(rows[::-1].copy()), values[torch.from_numpy(rows[::-1].copy())])


def test_maps_keep_their_values_in_any_memory_format(tmp_path: Path) -> None:
    """Channels-last maps and plain ones are the same record."""
    values = some(MAPS, 4)
    for place, given_ in enumerate((values, values.contiguous(memory_format=torch.channels_last))):
        store = Store(tmp_path / f"{place}.activations", 4, MAPS)
        store.put(np.arange(4), given_)
        assert torch.equal(store.take(np.arange(4)), values)
    assert (tmp_path / "0.activations").read_bytes() == (tmp_path / "1.activations").read_bytes()


def test_another_process_finds_what_was_written(filled: tuple[Store, torch.Tensor]) -> None:
    """A store is opened again with all that it has, and only the row that was never written is missing."""
    again = Store(filled[0].path, IMAGES, MAPS)
    assert again.missing(np.arange(IMAGES)).tolist() == [IMAGES - 1]
    assert torch.equal(again.take(np.arange(IMAGES - 1)), filled[1][:-1])


@pytest.mark.parametrize("place", [0, 17, -1])
def test_a_flipped_bit_is_found(filled: tuple[Store, torch.Tensor], place: int) -> None:
    """Wherever in a record a bit is flipped, that row is missing, and no other."""
    store, row = filled[0], 3
    content = bytearray(store.path.read_bytes())
    content[row * store.record + place % store.record] ^= 0x10
    store.path.write_bytes(content)
    assert Store(store.path, IMAGES, MAPS).missing(np.arange(IMAGES - 1)).tolist() == [row]


def test_a_store_cut_short_or_of_another_form_is_empty(filled: tuple[Store, torch.Tensor]) -> None:
    """Whatever its length says is not there."""
    path = filled[0].path
    os.truncate(path, path.stat().st_size - 1)
    assert len(Store(path, IMAGES, MAPS).missing(np.arange(IMAGES))) == IMAGES
    assert len(Store(path, IMAGES + 1, MAPS).missing(np.arange(IMAGES + 1))) == IMAGES + 1


def test_records_of_zeros_are_no_activations(tmp_path: Path) -> None:
    """A hole in the file is nothing that was written."""
    assert len(Store(tmp_path / "key.activations", IMAGES, MAPS).missing(np.arange(IMAGES))) == IMAGES


def test_the_least_recently_used_make_room(tmp_path: Path) -> None:
    """What is over the limit goes, oldest first, and what is in use stays."""
    form, rows = Form((4096,), torch.float32), np.arange(4)
    paths = []
    for place in range(3):
        store = Store(tmp_path / f"{place}.activations", 4, form)
        store.put(rows, some(form, 4))
        os.utime(store.path, (place, place))
        paths.append(store.path)
    size = paths[0].stat().st_blocks * 512
    cache = Cache(tmp_path, 3 * size, "data")
    cache.make_room(0, paths[:1])
    assert all(path.exists() for path in paths)
    cache.make_room(size // 2, paths[:1])
    assert [path.exists() for path in paths] == [True, False, True]
    with pytest.raises(NoSpaceError, match="allowed"):
        cache.make_room(3 * size, paths[:1])
    assert [path.exists() for path in paths] == [True, False, True]


def test_the_disk_keeps_some_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is refused before it fills the disk."""
    monkeypatch.setattr(activations, "KEPT_FREE", 1 << 60)
    with pytest.raises(NoSpaceError, match="disk"):
        Cache(tmp_path, 1 << 50, "data").make_room(1, [tmp_path / "key.activations"])


def _fill(folder: Path, turns: Any) -> None:
    cache, rows = Cache(folder, 1 << 30, "data"), np.arange(IMAGES)
    with cache.filling("key", IMAGES, MAPS) as store:
        if len(store.missing(rows)):
            turns.put(os.getpid())
            store.put(rows, some(MAPS, IMAGES))


def test_two_processes_do_the_work_once(tmp_path: Path) -> None:
    """The second waits for the first, and finds everything there."""
    context = multiprocessing.get_context("spawn")
    turns = context.Queue()
    processes = [context.Process(target=_fill, args=(tmp_path, turns)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert turns.get(timeout=5) in {process.pid for process in processes}
    assert turns.empty()
