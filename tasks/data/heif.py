"""HEIC and HEIF, as telephones write photographs: read where the extra ``heic`` is installed, named where it isn't."""

from functools import cache
from importlib.util import find_spec

PACKAGE, FORMAT = "pillow-heif", "HEIF"  # the format as Pillow calls it once the package has told it
BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2", b"msf1"}
HEADER = 64  # bytes, in which a file names its brands
NEEDED = "a HEIC photograph, which needs: pip install -c constraints.txt -e '.[heic]'"


@cache
def is_readable() -> bool:
    """Return whether Pillow can read the format, which it is told of here."""
    if not find_spec("pillow_heif"):
        return False
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    return True


def is_heif(start: bytes) -> bool:
    """Return whether a file begins as one of this format."""
    if start[4:8] != b"ftyp":
        return False
    length = min(int.from_bytes(start[:4], "big"), HEADER)
    brands = {start[8:12], *(start[place : place + 4] for place in range(16, length, 4))}
    return b"avif" not in brands and bool(brands & BRANDS)
