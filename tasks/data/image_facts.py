"""What is known of a file that claims to be an image once it was opened."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageFacts:
    """What was seen of a file.

    Attributes:
        width, height: upright, in pixels.
        mode, format: Pillow's names, of the file itself.
        animated: it has more frames than the one that is taken.
        size: of the file in bytes.
        sha256: of the file.
        problem: why the file can't be used; empty when it can.
        kind: of the problem, to count by.
        frames: or pages, of which the first is taken.
        halved: it has 16 bits a channel, of which the upper 8 are taken.
    """

    width: int = 0
    height: int = 0
    mode: str = ""
    format: str = ""
    animated: bool = False
    size: int = 0
    sha256: str = ""
    problem: str = ""
    kind: str = ""
    frames: int = 1
    halved: bool = False
