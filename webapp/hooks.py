"""The shop's extension points: what a plugin may decide, and what happens when none does.

Money is in integer cents everywhere. The structs below are the payloads, field for field, as JSON.
An answer that breaks one of their rules is rejected as that plugin's failure, so a price that does
not add up never reaches a customer.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from .extensions import plugins

Cents = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Pieces = Annotated[int, msgspec.Meta(ge=0)]


class Line(msgspec.Struct, frozen=True):
    """One article of a quote or an order; `unit_price` in cents."""

    sku: str
    name: str
    unit_price: Cents
    quantity: Annotated[int, msgspec.Meta(ge=1)]


class Discount(msgspec.Struct, frozen=True):
    """A reduction with the reason a customer reads; `amount` in cents, a positive number."""

    label: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    amount: Cents


class Quote(msgspec.Struct, frozen=True):
    """A price: `subtotal` is the sum of the items, `total` that sum less all discounts (cents).

    :raises ValueError: the sums do not add up.
    """

    items: list[Line]
    subtotal: Cents
    total: Cents
    discounts: list[Discount]
    user: str | None
    flash: bool

    def __post_init__(self) -> None:
        items = sum(line.unit_price * line.quantity for line in self.items)
        if self.subtotal != items:
            raise ValueError(f"subtotal is {self.subtotal}, but the items add up to {items}")
        due = self.subtotal - sum(discount.amount for discount in self.discounts)
        if self.total != due:
            raise ValueError(f"total is {self.total}, but subtotal less discounts is {due}")


class OrderDraft(msgspec.Struct, frozen=True):
    """An order that is about to be placed; `total` in cents, `placed_at` in Unix seconds."""

    items: list[Line]
    total: Cents
    user: str | None
    flash: bool
    placed_at: int


class Verdict(msgspec.Struct, frozen=True):
    """Whether an order is accepted, and if not, the reason that the customer reads."""

    accepted: bool
    reason: Annotated[str, msgspec.Meta(max_length=300)] = ""


class Hold(msgspec.Struct, frozen=True):
    """A visitor wants so many pieces of an article kept for them, in place of what is held now.

    :param holder: a random text that stands for the visitor.
    :param stock: how many pieces there are, held ones included.
    """

    sku: str
    holder: str
    quantity: Pieces
    stock: Pieces


class Held(msgspec.Struct, frozen=True):
    """`quantity` pieces are held for the visitor now, and `before` were until now.

    :param free: how many nobody else holds.
    """

    quantity: Pieces
    before: Pieces
    free: Pieces


class HeldQuery(msgspec.Struct, frozen=True):
    """Which pieces of these articles are held for others than this visitor, if it is one?"""

    skus: list[str]
    holder: str | None


@plugins.hookspec("price_quote", combine="chain", input=Quote, output=Quote)
def price_quote(quote: Quote) -> Quote:
    """Price the items; each plugin gets the quote that the one before it answered."""
    return quote


@plugins.hookspec("order_accept", combine="first", input=OrderDraft, output=Verdict)
def order_accept(draft: OrderDraft) -> Verdict:
    """Accept or refuse an order; the first plugin that answers decides."""
    return Verdict(accepted=True, reason="")


@plugins.hookspec("stock_hold", combine="first", input=Hold, output=Held)
def stock_hold(hold: Hold) -> Held:
    """Hold pieces for a visitor, all or none; a quantity of 0 lets go of them.

    What is held already can be held on, however small the stock has become: it was promised.
    """
    return Held(hold.quantity, hold.quantity, hold.stock)


@plugins.hookspec("stock_held", combine="first", input=HeldQuery, output=dict[str, Pieces])
def stock_held(query: HeldQuery) -> dict[str, int]:
    """Return how many pieces are held for others, by article number."""
    return {}
