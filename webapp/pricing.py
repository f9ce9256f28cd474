"""Prices and admission, as the plugins decide them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from .extensions import plugins
from .hooks import Line, OrderDraft, Quote, Verdict

_log = logging.getLogger(__name__)


def quote(lines: Iterable[Line], user: str | None, flash: bool = False) -> Quote:
    """Ask the plugins for the price of `lines`."""
    items = list(lines)
    subtotal = sum(line.unit_price * line.quantity for line in items)
    asked = Quote(items, subtotal, subtotal, [], user, flash)
    answer: Quote = plugins.call("price_quote", asked)
    if answer.items == items:
        return answer
    # A plugin prices what is in the cart; what is in it is the customer's to decide.
    _log.error("price_quote: a plugin changed the items of a quote; its answer is not used")
    return asked


def verdict(priced: Quote) -> Verdict:
    """Ask the plugins whether an order at this price is accepted."""
    draft = OrderDraft(priced.items, priced.total, priced.user, priced.flash, int(time.time()))
    answer: Verdict = plugins.call("order_accept", draft)
    return answer
