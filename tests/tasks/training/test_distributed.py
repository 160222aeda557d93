"""What each of several processes that train together takes of a batch, and of the batches."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.training.distributed import ProcessGroup


@given(st.integers(1, 70), st.integers(1, 9), st.none() | st.integers(1, 20))
def test_every_image_is_run_once(count: int, size: int, micro_batch: int | None) -> None:
    """The processes' shares of a micro-batch are its images in their order, each once; they differ by one at most."""
    shares = [ProcessGroup(rank, size).local_micro_batches(count, micro_batch) for rank in range(size)]
    places = np.arange(count)
    run = []
    for of_ranks in zip(*shares, strict=True):
        assert len({(share.global_rows.start, share.global_rows.stop) for share in of_ranks}) == 1
        lengths = [share.rows.stop - share.rows.start if share.counts else 0 for share in of_ranks]
        assert max(lengths) - min(lengths) <= 1
        run += [places[share.rows] for share in of_ranks if share.counts]
        assert all(len(places[share.rows]) for share in of_ranks), (
            "a process without images runs one that doesn't count"
        )
    assert np.concatenate(run).tolist() == places.tolist()


@given(st.integers(0, 40), st.integers(1, 6))
def test_batches_that_take_turns_are_all_taken(count: int, size: int) -> None:
    """Each batch of a split is one process's."""
    taken = [place for rank in range(size) for place in ProcessGroup(rank, size).local_batches(range(count))]
    assert sorted(taken) == list(range(count))
