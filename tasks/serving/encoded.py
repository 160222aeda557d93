"""The content of a file as text: every usual form of base64."""

import base64
import binascii
import re
from urllib.parse import unquote

_DATA_URI = re.compile(r"\s*data:[^,]*?;\s*base64\s*,", re.I)
_OTHER_URI = re.compile(r"\s*(data|https?|file|s3|gs):", re.I)


def decoded(text: str) -> bytes:
    """Return what base64 stands for: with newlines or without, URL-safe, without padding, or in a ``data:`` URI.

    Raises:
        ValueError: it is no base64; says what it is, where that is known.
    """
    if uri := _DATA_URI.match(text):
        text = unquote(text[uri.end() :])
    elif other := _OTHER_URI.match(text):
        raise ValueError(f"is an address ({other[1]}:), where the content itself is wanted")
    bare = re.sub(r"\s+", "", text).translate(str.maketrans("-_", "+/")).rstrip("=")
    if not bare:
        raise ValueError("is empty")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError) as error:  # whatever is in no alphabet of base64
        raise ValueError("is no base64") from error
