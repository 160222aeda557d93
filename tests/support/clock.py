"""A clock that is set by hand, and a console whose lines are kept."""

import io

from rich.console import Console


class Clock:
    """Stands for the module ``time`` where progress is shown; ``now`` is what it says, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    """Return a console and what is written to it."""
    written = io.StringIO()
    return Console(file=written, force_terminal=terminal, width=120, highlight=False, soft_wrap=True), written
