"""The way back from a promotion."""

from datetime import UTC, datetime


def roll_back() -> tuple[str, str]:
    """Make the champion before the last one champion again, and the last one ``previous``; return both versions.

    Raises:
        UserError: there is none.
    """
    from tasks.tracking import registry

    now, before = registry.roll_back()
    when = datetime.now(UTC).isoformat(timespec="seconds")
    registry.decide(before, "rolled back", f"version {now} is champion again since {when}")
    return now, before
