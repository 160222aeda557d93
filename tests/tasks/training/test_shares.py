"""What each of several processes that train together takes of a batch, and of the batches."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.training.distributed import Team


@given(st.integers(1, 70), st.integers(1, 9), st.none() | st.integers(1, 20))
def test_every_image_is_run_once(count: int, size: int, micro_batch: int | None) -> None:
    """The processes' shares of a piece are its images in their order, each once; they differ by one at most."""
    shares = [Team(rank, size).shares(count, micro_batch) for rank in range(size)]
    places = np.arange(count)
    run = []
    for pieces in zip(*shares, strict=True):
        assert len({(share.piece.start, share.piece.stop) for share in pieces}) == 1
        lengths = [share.rows.stop - share.rows.start if share.counts else 0 for share in pieces]
        assert max(lengths) - min(lengths) <= 1
        run += [places[share.rows] for share in pieces if share.counts]
        assert all(len(places[share.rows]) for share in pieces), "a process without images runs one that doesn't count"
    assert np.concatenate(run).tolist() == places.tolist()


@given(st.integers(0, 40), st.integers(1, 6))
def test_batches_that_take_turns_are_all_taken(count: int, size: int) -> None:
    """Each batch of a split is one process's."""
    taken = [place for rank in range(size) for place in Team(rank, size).own(range(count))]
    assert sorted(taken) == list(range(count))
