"""What was exported as a table in the terminal."""

from rich.console import Console
from rich.table import Table

from tasks.serving.exports import Export

NAMES = {"torch": "the network here", "onnx": "ONNX", "torch_export": "torch.export"}
HEADINGS = ("MB", "ms an image", "largest difference", "other labels")
MB = 1e6


def rows(found: Export) -> list[dict[str, str]]:
    """Return a row a form."""
    return [
        {
            "form": NAMES[name],
            "file": next(iter(form.files), "–"),
            "MB": f"{form.bytes / MB:.2f}",
            "ms an image": f"{form.milliseconds:.2f}",
            "largest difference": f"{form.difference:.1e}" if form.difference else "0",
            "other labels": str(form.other_labels),
        }
        for name, form in found.forms.items()
    ]


def caption(found: Export) -> str:
    """Return what the figures were measured on."""
    return (
        f"{found.strategy}, {len(found.classes)} classes; compared on {found.images} images; one image at a time, "
        f"{found.threads} thread{'s' * (found.threads != 1)}"
    )


def show(found: Export, console: Console | None = None) -> None:
    """Print sizes, latencies and differences."""
    console = console or Console(highlight=False)
    table = Table(title=caption(found), title_justify="left", title_style="dim")
    table.add_column("form", no_wrap=True)
    table.add_column("file", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows(found):
        table.add_row(*row.values())
    console.print(table)
