"""The error that a person can act on, and the words of such errors."""

import difflib
from collections.abc import Iterable, Sequence

SHOWN = 12
NOTED = 5  # names in a note of what was understood or left out
LONGEST = 200  # characters of what somebody else's code says


class UserError(Exception):
    """A mistake or a condition that the user can mend: one sentence that says what, where, and what to do.

    The command line prints the sentence alone, without a traceback, and exits with status 2.
    """


class UnavailableError(UserError):
    """Something outside, such as a download, failed; another try may succeed."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice closest to ``word``, or the list of choices if none is close."""
    options = sorted(choices)
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.5)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (choose from: {', '.join(options)})"


def listed(names: Sequence[str], shown: int = SHOWN) -> str:
    """Return names one after the other: the first ones, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def one_line(text: object, longest: int | None = None) -> str:
    """Return a text, or what an exception says, in one line, which may be empty; at most so many characters of it."""
    return " ".join(str(text).split())[:longest]


def reason_of(error: BaseException) -> str:
    """Return what an exception says in one short line; where that is nothing, the name of its type."""
    return one_line(error, LONGEST) or type(error).__name__
