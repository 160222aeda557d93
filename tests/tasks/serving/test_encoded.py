"""Whatever writes base64, the content comes back; what is none is said to be none."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.serving.encoded import decoded

FORMS = {
    "plain": lambda content: base64.b64encode(content).decode(),
    "lines": lambda content: base64.encodebytes(content).decode(),
    "lines of Windows": lambda content: base64.encodebytes(content).decode().replace("\n", "\r\n"),
    "for addresses": lambda content: base64.urlsafe_b64encode(content).decode(),
    "unpadded": lambda content: base64.b64encode(content).decode().rstrip("="),
    "for addresses, unpadded": lambda content: base64.urlsafe_b64encode(content).decode().rstrip("="),
    "URI": lambda content: "data:image/png;base64," + base64.b64encode(content).decode(),
    "URI with a name": lambda content: "data:image/png;name=a.png;BASE64, " + base64.b64encode(content).decode(),
    "URI without a kind": lambda content: "data:;base64," + base64.b64encode(content).decode(),
    "escaped URI": lambda content: "data:image/png;base64," + base64.b64encode(content).decode().replace("+", "%2B"),
    "spaces around it": lambda content: f"  {base64.b64encode(content).decode()}\n",
}


@pytest.mark.parametrize("form", FORMS)
@given(content=st.binary(min_size=1, max_size=200))
def test_content_comes_back(form: str, content: bytes) -> None:
    """In every form."""
    assert decoded(FORMS[form](content)) == content


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("näh", "no base64"), ("", "empty"), ("data:image/png;base64,", "empty"), ("A", "no base64"),
        ("https://example.org/a.png", "address"), ("file:///a.png", "address"), ("photo.png", "no base64"),
        ("data:image/svg+xml,<svg/>", "address"), ("AAAA=AAA", "no base64"),
    ],
)  # fmt: skip
def test_what_is_none(text: str, said: str) -> None:
    """One word says what it is."""
    with pytest.raises(ValueError, match=said):
        decoded(text)
