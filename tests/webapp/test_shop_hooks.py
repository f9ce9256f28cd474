"""The payloads of the shop's extension points."""

from __future__ import annotations

import msgspec
import pytest

from webapp.hooks import Discount, Line, OrderDraft, Quote, Verdict

LINE = Line("mug", "Mug", 1450, 2)
QUOTE_JSON = (
    b'{"items":[{"sku":"mug","name":"Mug","unit_price":1450,"quantity":2}],"subtotal":2900,'
    b'"total":2610,"discounts":[{"label":"10 %","amount":290}],"user":"ann","flash":false}'
)


def test_quote_json() -> None:
    """A quote travels as this JSON, and comes back as the same value."""
    quote = Quote([LINE], 2900, 2610, [Discount("10 %", 290)], "ann", False)
    assert msgspec.json.encode(quote) == QUOTE_JSON
    assert quote == msgspec.json.decode(QUOTE_JSON, type=Quote)


def test_draft_json() -> None:
    """An order draft travels as this JSON."""
    draft = OrderDraft([LINE], 2900, None, True, 1_700_000_000)
    assert msgspec.json.encode(draft) == (
        b'{"items":[{"sku":"mug","name":"Mug","unit_price":1450,"quantity":2}],"total":2900,'
        b'"user":null,"flash":true,"placed_at":1700000000}'
    )


def test_verdict_reason_is_optional() -> None:
    """A verdict without a reason is a verdict with an empty one."""
    assert Verdict(True, "") == msgspec.json.decode(b'{"accepted":true}', type=Verdict)


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (b'"total":2610', b'"total":2611', "total is 2611, but subtotal less discounts is 2610"),
        (b'"subtotal":2900', b'"subtotal":1', "subtotal is 1, but the items add up to 2900"),
        (b'"amount":290', b'"amount":-290', r"Expected `int` >= 0 - at `\$.discounts\[0\].amount`"),
        (b'"total":2610', b'"total":26.1', r"Expected `int`, got `float` - at `\$.total`"),
        (b'"label":"10 %"', b'"label":""', r"`\$.discounts\[0\].label`"),
        (b'"flash":false', b'"flash":null', r"`\$.flash`"),
        (b',"flash":false', b"", "missing required field `flash`"),
    ],
)
def test_wrong_quote_is_rejected(old: bytes, new: bytes, rule: str) -> None:
    """A quote that does not add up, or has a wrong type, is not decoded."""
    with pytest.raises(msgspec.ValidationError, match=rule):
        msgspec.json.decode(QUOTE_JSON.replace(old, new, 1), type=Quote)
