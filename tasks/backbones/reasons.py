"""What an exception of somebody else's code says, for a message of ours."""

LONGEST = 200  # characters


def one_line(error: Exception) -> str:
    """Return what an exception says in one line, which may be empty."""
    return " ".join(str(error).split())[:LONGEST]


def reason_of(error: Exception) -> str:
    """Return what an exception says in one line; where that is nothing, the name of its type."""
    return one_line(error) or type(error).__name__
