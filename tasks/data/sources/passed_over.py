"""What is said of files that are passed over: how many of each kind, and the names of those that nobody expects."""

from collections import Counter
from collections.abc import Sequence

from tasks import wording
from tasks.data.sources.file_kinds import OTHER
from tasks.data.sources.file_names import printable
from tasks.data.sources.folder_tree import LINKS, LINKS_BACK
from tasks.data.sources.listing import UNLABELLED, PassedOver
from tasks.errors import NOTED, listed

NO_UNICODE = "names that are no Unicode"
EXPLAINED = {
    OTHER: "no images, and of no known kind",
    LINKS: "which data.follow_links asks to follow",
    LINKS_BACK: "to folders that were read, or above them",
    NO_UNICODE: "unlabelled images whose names are no Unicode, and which are not scored: rename them",
}
SINGULAR = {LINKS: "link to a folder", LINKS_BACK: "link that leads back", NO_UNICODE: "name that is no Unicode"}


def counted_kinds(passed_over: Sequence[PassedOver]) -> list[str]:
    """Return how many files of each kind there are, the commonest first: ``2 links to folders``, ``1 other file``."""
    counts = Counter(file.kind for file in passed_over)
    return [_counted(count, kind) for kind, count in counts.most_common()]


def notes_on(passed_over: Sequence[PassedOver]) -> list[str]:
    """Return sentences that count what is passed over by kind, and name the first of what nobody expects.

    Unlabelled images are left to who knows where they lie.
    """
    usual = counted_kinds([file for file in passed_over if file.kind not in {*EXPLAINED, UNLABELLED}])
    notes = [f"passed over {', '.join(usual)}"] if usual else []
    for kind in sorted(EXPLAINED.keys() & {file.kind for file in passed_over}):
        names = [printable(file.path) for file in passed_over if file.kind == kind]
        notes.append(f"passed over {_counted(len(names), kind)} ({EXPLAINED[kind]}): {listed(names, NOTED)}")
    return notes


def _counted(count: int, kind: str) -> str:
    return wording.counted(count, kind, SINGULAR.get(kind, ""))
