"""What a person sees of a fine-tuning."""

import pytest

from tasks.progress import bar_on
from tasks.training import progress
from tasks.training.progress import Reporter
from tests.support.clock import Clock, console


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that progress looks at."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


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


def train(reporter: Reporter, clock: Clock, epochs: int, steps: int, behind: int = 0, until: int | None = None) -> None:
    """Let a training of 2 s a step and 4 s a validation be shown."""
    with reporter.epochs():
        for epoch in range(until or epochs):
            for _ in reporter.steps(range(behind, steps), steps - behind, epoch, epochs, behind):
                clock.now += 2
            clock.now += 4
            reporter.epoch_done(row(epoch), epochs)
            behind = 0


def test_a_log_says_within_an_epoch_how_long_the_training_takes(clock: Clock) -> None:
    """Lines of steps name the time that is left of all epochs; once validated, with what validating takes."""
    shown, written = console(terminal=False)
    train(Reporter("full", shown), clock, epochs=3, steps=6)
    said = written.getvalue().splitlines()
    assert said[0] == "full: epoch 1/3, step 3/6, at most 30 s left"
    assert said[1].startswith("full: epoch 1/3, train loss")
    assert said[2] == "full: epoch 2/3, step 3/6, at most 26 s left"  # 9 steps of 2 s, 2 validations of 4 s
    assert said[4] == "full: epoch 3/3, step 3/6, 10 s left"
    assert len(said) == 6


def test_a_training_that_goes_on_counts_the_steps_behind_it(clock: Clock) -> None:
    """The rest of an epoch is shown as the rest, and its pace is its own."""
    shown, written = console(terminal=False)
    train(Reporter("full", shown), clock, epochs=1, steps=10, behind=6)
    assert "full: epoch 1/1, step 9/10, 2 s left" in written.getvalue()


def test_the_last_result_is_said_when_training_stops_early(clock: Clock) -> None:
    """Of short epochs not each is said; that of the epoch after which it stopped is."""
    shown, written = console(terminal=False)
    reporter = Reporter("head_only", shown)
    with reporter.epochs():
        for epoch in range(7):
            clock.now += 0.1
            reporter.epoch_done(row(epoch), 40)
    said = written.getvalue().splitlines()
    assert [line.split(",")[0] for line in said] == ["head_only: epoch 1/40", "head_only: epoch 7/40"]


def test_the_last_result_of_a_phase_is_said(clock: Clock) -> None:
    """However short its epochs, once each phase ends a person sees what it reached."""
    shown, written = console(terminal=False)
    reporter = Reporter("lp_ft", shown)
    for epoch in range(4):
        reporter.epoch_done(row(epoch), 6, ends_phase=epoch == 2)
    assert [line.split(",")[0] for line in written.getvalue().splitlines()] == [
        "lp_ft: epoch 1/6",
        "lp_ft: epoch 3/6",
    ]


def test_a_terminal_sees_the_time_left(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bar says how long the whole training takes, not the epoch alone."""
    shown, _ = console(terminal=True)
    bar = bar_on(shown, with_time_left=False)
    monkeypatch.setattr(progress, "bar_on", lambda *_, **__: bar)
    reporter = Reporter("full", shown)
    with reporter.epochs():
        for _ in reporter.steps(range(4), 4, 0, 3):
            described = bar.tasks[0].description
            clock.now += 2
    assert described == "full epoch 1/3, at most 18 s left"
