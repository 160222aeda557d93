"""What a person sees of work that takes a while, by a clock of its own."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import progress
from tasks.progress import Pace, counting, duration, during, lines_to, megabytes, plain_console
from tests.support.clock import Clock, console


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that progress looks at."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_log_says_how_far_and_how_long(clock: Clock) -> None:
    """A line every few seconds with count, share and the time that is left; the end is not said."""
    shown, written = console()
    with counting("reading images", 2000, shown) as advance:
        for _ in range(20):
            clock.now += 1
            advance(100)
    assert written.getvalue().splitlines() == [
        "reading images: 500 of 2,000 (25%), 15 s left",
        "reading images: 1,000 of 2,000 (50%), 10 s left",
        "reading images: 1,500 of 2,000 (75%), 5 s left",
    ]


def test_work_that_is_done_at_once_says_nothing(clock: Clock) -> None:
    """What took less than some seconds leaves no line."""
    shown, written = console()
    with counting("copying images", 3, shown) as advance:
        for _ in range(3):
            clock.now += 1
            advance(1)
    assert written.getvalue() == ""


def test_bytes_are_megabytes_and_an_unknown_total_is_none(clock: Clock) -> None:
    """A download is shown in megabytes; without a total there is neither share nor time left."""
    shown, written = console()
    for total in (40_000_000, None):
        with counting("fetching", total, shown, of_bytes=True) as advance:
            clock.now += 10
            advance(10_000_000)
    assert written.getvalue().splitlines() == [
        "fetching: 10.0 MB of 40.0 MB (25%), 30 s left",
        "fetching: 10.0 MB",
    ]


def test_a_slow_beginning_is_forgotten(clock: Clock) -> None:
    """The time left follows what was done lately: a first image that took a minute doesn't count for long."""
    pace = Pace(200)
    clock.now += 60
    pace.advance(1)
    for _ in range(60):
        clock.now += 1
        pace.advance(1)
    assert pace.left() == pytest.approx(139)


def test_nobody_can_tell_at_the_start(clock: Clock) -> None:
    """Before a second of work there is no time left to name."""
    pace = Pace(10)
    assert pace.left() is None
    clock.now += 0.5
    pace.advance(1)
    assert pace.left() is None
    clock.now += 1
    pace.advance(1)
    assert pace.left() == pytest.approx(6)


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(1, 50)), min_size=1, max_size=40))
def test_the_time_left_is_never_negative_and_ends_at_nothing(taken: list[tuple[float, int]]) -> None:
    """Whatever the pace, the rest takes some time while there is one, and none at the end."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "time", clock)
        pace = Pace(sum(count for _, count in taken))
        for seconds, count in taken:
            clock.now += seconds
            pace.advance(count)
            left = pace.left()
            assert left is None or (left > 0) == (pace.done < pace.total)


def test_a_terminal_has_a_bar(clock: Clock) -> None:
    """In a terminal there is a bar, which carries the title, and within it no second one."""
    shown, written = console(terminal=True)
    with counting("reading images", 10, shown) as advance, during("looking", shown), counting("more", 2, shown) as more:
        advance(5)
        more(1)
    assert "reading images" in written.getvalue()
    assert "looking" not in written.getvalue()
    assert "more" not in written.getvalue()


def test_what_can_not_be_counted_says_for_how_long(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """While it goes on, a line every few seconds says so, with what there is to see of it."""
    beats = threading.Semaphore(0)
    said = threading.Semaphore(0)

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            if timeout != progress.SECONDS_BETWEEN_LINES:  # of the thread itself, which starts
                return super().wait(timeout)
            said.release()
            beats.acquire()
            return self.is_set()

        def set(self) -> None:
            super().set()
            beats.release()

    monkeypatch.setattr(progress, "Event", Ended)
    shown, written = console()
    with during("downloading weights", shown, lambda: "8.1 MB"):
        said.acquire()
        clock.now += 5
        beats.release()
        said.acquire()
    assert written.getvalue() == "downloading weights: 8.1 MB, for 5 s by now\n"


def test_lines_go_where_they_are_wanted(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """For as long as a block runs, lines go to a function, whole, and not to the terminal."""
    taken: list[str] = []
    with lines_to(taken.append):
        plain_console().print("a plan")
        with counting("reading", 10) as advance:
            clock.now += 5
            advance(5)
    plain_console().print("behind it")
    assert taken == ["a plan", "reading: 5 of 10 (50%), 5 s left"]
    assert capsys.readouterr().out == "behind it\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "1 s"),
        (11.6, "12 s"),
        (89, "89 s"),
        (95, "2 min"),
        (362, "6 min"),
        (3600, "60 min"),
        (5700, "1 h 35 min"),
        (7200, "2 h"),
    ],
)
def test_a_time_has_the_unit_that_says_enough(seconds: float, words: str) -> None:
    """Seconds, minutes, or hours with minutes; never none at all."""
    assert duration(seconds) == words


def test_bytes_are_megabytes() -> None:
    """Of a million bytes, to a tenth."""
    assert megabytes(14_212_972) == "14.2 MB"
