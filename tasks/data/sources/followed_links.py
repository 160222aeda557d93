"""What is said of images behind links."""

from dataclasses import replace

from tasks.data.reading import leads_outside
from tasks.data.sources.listing import Found
from tasks.errors import NOTED, listed
from tasks.params import DataParams


def counted(found: Found, params: DataParams) -> Found:
    """Return what was found with a note, where links are followed, on how many images they lead to."""
    if not params.follow_links:
        return found
    outside = [file.path for file in found.files if leads_outside(found.root, file.path)]
    if not outside:
        return found
    note = (
        f"{len(outside)} of {len(found.files)} files lie outside of {params.path}, behind links that were followed "
        f"(data.follow_links): {listed(outside, NOTED)}"
    )
    return replace(found, notes=[*found.notes, note])
