"""Quotes as a pricing plugin would answer them."""

from __future__ import annotations

from typing import Any

import msgspec

from webapp.hooks import Quote


def discounted(quote: Quote, label: str, amount: int) -> Quote:
    """Return `quote` with one more discount, in cents."""
    discount = {"label": label, "amount": amount}
    plain: dict[str, Any] = msgspec.to_builtins(quote)
    plain["discounts"].append(discount)
    plain["total"] -= amount
    return msgspec.convert(plain, Quote)
