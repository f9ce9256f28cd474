"""Money and time as people read them."""

from __future__ import annotations

import datetime


def money(cents: int) -> str:
    """Format cents as euros; a negative amount has its minus in front of the sign."""
    sign = "\N{MINUS SIGN}" if cents < 0 else ""
    euros, rest = divmod(abs(cents), 100)
    return f"{sign}€{euros:,}.{rest:02d}"


def moment(seconds: int) -> str:
    """Format Unix seconds as a date and time in UTC."""
    when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{when:%d %B %Y, %H:%M} UTC".lstrip("0")
