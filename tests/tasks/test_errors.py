"""Words of errors: what somebody else's code says, as a sentence can take it."""

from tasks.errors import LONGEST, one_line, reason_of


def test_what_an_exception_says_is_one_line() -> None:
    """White space is folded, and only so much is kept as is asked for."""
    error = ValueError("first\n  second\tthird")
    assert one_line(error) == reason_of(error) == "first second third"
    assert one_line(error, 5) == "first"
    assert len(reason_of(ValueError("x" * 1000))) == LONGEST
    assert len(one_line(ValueError("x" * 1000))) == 1000


def test_a_silent_exception_is_named() -> None:
    """Where it says nothing, its type is all that is known."""
    assert one_line(KeyError()) == ""
    assert reason_of(KeyError()) == "KeyError"
