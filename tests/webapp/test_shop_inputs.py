"""What visitors type and programs send."""

from __future__ import annotations

import pytest
from werkzeug.exceptions import BadRequest

from webapp import inputs
from webapp.money import moment, money


@pytest.mark.parametrize(("text", "number"), [("1", 1), (" 7 ", 7), ("99", 99), ("007", 7)])
def test_quantity(text: str, number: int) -> None:
    """A whole number from 1 to 99 is a quantity."""
    assert number == inputs.quantity(text)


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "+1", "1.5", "1e1", "1_0", "100", "0x1", "٣", "a", "9" * 5000]
)
def test_no_quantity(text: str) -> None:
    """Anything else is refused with the allowed range."""
    with pytest.raises(BadRequest, match="whole number from 1 to 99"):
        inputs.quantity(text)


@pytest.mark.parametrize("text", ["ann", "A", "0", "a.b-c_d", "x" * 32])
def test_user_name(text: str) -> None:
    """Letters, digits, dot, dash and underscore make a name."""
    assert text == inputs.user_name(f" {text} ")


@pytest.mark.parametrize(
    "text", ["", "x" * 33, "a b", "a;b", "jörg", ".a", "a\nb", 'a"', "ann\n.x"]
)
def test_no_user_name(text: str) -> None:
    """A name that would need quoting in a cookie is refused."""
    with pytest.raises(BadRequest, match="A name has 1 to 32"):
        inputs.user_name(text)


@pytest.mark.parametrize("path", ["/", "/flash", "/products/mug?quantity=3"])
def test_local_path(path: str) -> None:
    """A path of this site is gone on to."""
    assert path == inputs.local_path(path, "/default")


@pytest.mark.parametrize(
    "path", [None, "", "//evil.example", "/\\evil.example", "https://e.example", "/a\r\nX: 1", "x"]
)
def test_foreign_path(path: str | None) -> None:
    """Whatever could lead to another site is replaced by the default."""
    assert inputs.local_path(path, "/default") == "/default"


@pytest.mark.parametrize("text", ["", "-1", "1.0", "²", "1" * 13])
def test_no_cents(text: str) -> None:
    """An amount that none of our forms would carry is refused."""
    with pytest.raises(BadRequest, match="form is damaged"):
        inputs.cents(text)


@pytest.mark.parametrize("text", ["", "short", "x" * 65, "a b" * 8, "ä" * 20])
def test_no_once(text: str) -> None:
    """A once-only value that none of our forms would carry is refused."""
    with pytest.raises(BadRequest, match="form is damaged"):
        inputs.once(text)


def test_missing_hidden_fields() -> None:
    """The hidden fields of a form may be left out."""
    assert (inputs.cents(None), inputs.once(None)) == (None, None)


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "€0.00"), (5, "€0.05"), (123456, "€1,234.56"), (-290, "−€2.90")]
)
def test_money(cents: int, text: str) -> None:
    """Cents are shown as euros."""
    assert text == money(cents)


def test_moment() -> None:
    """Times are shown in UTC, without a leading zero."""
    assert moment(1_700_000_000 - 10 * 86400) == "4 November 2023, 22:13 UTC"
