"""What was exported as a table in the terminal."""

from rich.console import Console
from rich.table import Table

from tasks.serving.exports import Export
from tasks.wording import counted

NAMES = {"torch": "the network here", "onnx": "ONNX", "torch_export": "torch.export"}
HEADINGS = ("MB", "ms an image", "largest difference", "other labels")
MB = 1e6


def rows(export: Export) -> list[dict[str, str]]:
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
        for name, form in export.forms.items()
    ]


def caption(export: Export) -> str:
    """Return what the figures were measured on."""
    return (
        f"{export.strategy}, {len(export.classes)} classes; compared on {export.images} images; one image at a time, "
        f"{counted(export.threads, 'threads')}"
    )


def show(export: Export, console: Console | None = None) -> None:
    """Print sizes, latencies and differences."""
    console = console or Console(highlight=False)
    table = Table(title=caption(export), title_justify="left", title_style="dim")
    table.add_column("form")
    table.add_column("file")
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for row in rows(export):
        table.add_row(*row.values())
    console.print(table)
