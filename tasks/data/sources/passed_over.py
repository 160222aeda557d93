"""What is said of files that are passed over."""

from collections import Counter
from collections.abc import Sequence

from tasks.data.sources.file_kinds import OTHER
from tasks.data.sources.folder_tree import BACK, LINKS
from tasks.data.sources.listing import UNLABELLED, PassedOver, shown
from tasks.errors import NOTED, listed

NO_UNICODE = "names that are no Unicode"
WORDS = {
    OTHER: "no images, and of no known kind",
    LINKS: "which data.follow_links asks to follow",
    BACK: "to folders that were read, or above them",
    NO_UNICODE: "unlabelled images whose names are no Unicode, and which are not scored: rename them",
}
SINGULAR = {LINKS: "link to a folder", BACK: "link that leads back", NO_UNICODE: "name that is no Unicode"}


def counted(count: int, kind: str) -> str:
    """Return a number of things whose name is in the plural: ``1 other file``, ``2 links to folders``."""
    return f"{count} {kind if count != 1 else SINGULAR.get(kind, kind.removesuffix('s'))}"


def said(passed_over: Sequence[PassedOver]) -> list[str]:
    """Return sentences that count what is passed over by kind, and name the first of what nobody expects.

    Unlabelled images are left to who knows where they lie.
    """
    counts = Counter(file.kind for file in passed_over if file.kind != UNLABELLED)
    usual = [counted(count, kind) for kind, count in counts.most_common() if kind not in WORDS]
    notes = [f"passed over {', '.join(usual)}"] if usual else []
    for kind in sorted(WORDS.keys() & counts):
        names = [shown(file.path) for file in passed_over if file.kind == kind]
        notes.append(f"passed over {counted(counts[kind], kind)} ({WORDS[kind]}): {listed(names, NOTED)}")
    return notes
