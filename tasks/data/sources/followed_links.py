"""What is said of images that lie behind links."""

from dataclasses import replace

from tasks.data.file_access import leads_outside
from tasks.data.sources.listing import SourceListing
from tasks.errors import NOTED, listed
from tasks.params import DataParams


def with_links_noted(listing: SourceListing, params: DataParams) -> SourceListing:
    """Return a listing with a note, where links are followed, on how many images they lead to."""
    if not params.follow_links:
        return listing
    outside = [file.path for file in listing.files if leads_outside(listing.root, file.path)]
    if not outside:
        return listing
    note = (
        f"{len(outside)} of {len(listing.files)} files lie outside of {params.path}, behind links that were followed "
        f"(data.follow_links): {listed(outside, NOTED)}"
    )
    return replace(listing, notes=[*listing.notes, note])
