"""What ``python -m tests.benchmarks.gpu`` measured, as a table."""

from docs.measured.figures import Figures
from docs.reference.markdown import code, table


def section(found: Figures | None) -> str:
    """Return a line a figure; where no GPU was measured, that none was."""
    if not found:
        ready = code("python -m tests.benchmarks.gpu --out gpu.json")
        return f"No GPU was used for any figure here. {ready} measures one in eight minutes; it was never run on one."
    lines = [
        ["" if place else name, figure.replace("_", " "), _value(value)]
        for name, part in found["sections"].items()
        for place, (figure, value) in enumerate({"state": part["state"], **part["figures"]}.items())
    ]
    return f"On {found['device']}, PyTorch {found['torch']}:\n\n{table(['section', 'figure', 'measured'], lines)}"


def _value(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, int | float) else str(value)
