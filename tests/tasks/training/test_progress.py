"""What a person sees of a fine-tuning."""

import io

import pytest
from rich.console import Console

from tasks.training import progress
from tasks.training.progress import Reporter


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    """Return a console and what is written to it."""
    written = io.StringIO()
    return Console(file=written, force_terminal=terminal, width=120, highlight=False, soft_wrap=True), written


def row(epoch: int) -> dict[str, float]:
    """Return a row of a history."""
    return {"epoch": float(epoch), "train_loss": 0.5, "val_loss": 0.25, "val_accuracy": 0.75}


@pytest.mark.parametrize("terminal", [True, False])
def test_batches_pass_through(terminal: bool) -> None:
    """Showing progress neither loses nor repeats a batch, with a bar or without."""
    shown, _ = console(terminal=terminal)
    reporter = Reporter("full", shown)
    with reporter.epochs():
        assert list(reporter.steps(range(7), 7, 0, 2)) == list(range(7))
        assert list(reporter.steps(range(3), 3, 1, 2)) == list(range(3))


def test_a_terminal_sees_the_epoch() -> None:
    """The bar carries the strategy's name and the epoch."""
    shown, written = console(terminal=True)
    reporter = Reporter("full", shown)
    with reporter.epochs():
        for _ in reporter.steps(range(2), 2, 2, 5):
            pass
    assert "full epoch 3/5" in written.getvalue()


def test_a_log_has_whole_lines_only() -> None:
    """Outside a terminal an epoch is a plain line without control characters."""
    shown, written = console(terminal=False)
    reporter = Reporter("full", shown)
    with reporter.epochs():
        list(reporter.steps(range(2), 2, 0, 1))
        reporter.epoch_done(row(0), 1)
    reporter.say("goes on")
    first, second = written.getvalue().splitlines()
    assert first.startswith("full: epoch 1/1")
    assert "0.5000" in first
    assert "0.2500" in first
    assert "0.7500" in first
    assert second == "full: goes on"
    assert "\x1b" not in written.getvalue()


def test_short_epochs_are_said_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short epochs give few lines, long ones a line each; the last is always said."""
    for seconds, lines in ((0.0, 40), (3600.0, 2)):
        monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", seconds)
        monkeypatch.setattr(progress.time, "monotonic", lambda: 10_000.0)
        shown, written = console(terminal=False)
        reporter = Reporter("head_only", shown)
        for epoch in range(40):
            reporter.epoch_done(row(epoch), 40)
        said = written.getvalue().splitlines()
        assert len(said) == lines
        assert "epoch 1/40" in said[0]
        assert "epoch 40/40" in said[-1]
