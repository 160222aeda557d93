"""The history of a training, logged beside it: row after row, by a thread of its own."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue

from mlflow.entities import Metric

from tasks.tracking.store import OutageError, client, stored

Row = Mapping[str, float]

ROWS_AT_ONCE = 100  # MLflow takes 1,000 metrics in a batch
NOW = ""  # the key of the seconds at which a row was handed over
SECONDS_BETWEEN_OUTAGES = 1.0
SECONDS_FOR_THE_REST = 10.0  # after an error, which is not kept waiting by a server that is gone


@contextmanager
def history(run_id: str) -> Iterator[Callable[[Row], None]]:
    """Yield a function that takes rows of the history and logs them under ``epoch/``, at their epoch.

    A thread of its own does so, with as many rows at once as there are, so that training waits for no server. Rows that
    a server which is gone could not take are kept for as long as the block runs. When it ends, all are logged.

    Raises:
        UserError: the store failed; in the function at the next row, or at the end of the block.
    """
    waiting: SimpleQueue[Row | None] = SimpleQueue()
    failures: list[Exception] = []

    def log(row: Row) -> None:
        if failures:
            raise failures[0]
        waiting.put({**row, NOW: time.time()})

    thread = threading.Thread(target=_write, args=(run_id, waiting, failures), name="history", daemon=True)
    thread.start()
    try:
        yield log
    except BaseException:
        waiting.put(None)
        thread.join(SECONDS_FOR_THE_REST)
        raise
    waiting.put(None)
    thread.join()
    if failures:
        raise failures[0]


def _write(run_id: str, waiting: "SimpleQueue[Row | None]", failures: list[Exception]) -> None:
    """Log rows until None comes; a failure, after which nothing is logged, is raised where the rows come from."""
    rows: list[Row] = []
    ended = False
    while not ended or rows:
        while not ended and len(rows) < ROWS_AT_ONCE and (not rows or not waiting.empty()):
            row = waiting.get()
            ended = row is None
            rows += [row] if row is not None else []
        try:
            _log_rows(run_id, rows)
            rows = []
        except OutageError as error:
            if ended:
                failures.append(error)
                return
            time.sleep(SECONDS_BETWEEN_OUTAGES)
        except Exception as error:
            failures.append(error)
            return


@stored
def _log_rows(run_id: str, rows: Iterable[Row]) -> None:
    metrics = [
        Metric(f"epoch/{key}", value, int(row[NOW] * 1000), int(row["epoch"]))
        for row in rows
        for key, value in row.items()
        if key not in {"epoch", NOW}
    ]
    if metrics:
        client().log_batch(run_id, metrics=metrics)
