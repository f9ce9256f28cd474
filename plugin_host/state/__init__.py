"""The key-value store that plugins share: exact across threads, workers and machines.

`open_store` gives a `Store`, a store gives `Namespace`, and a namespace has the operations. Behind
it stands one `Backend`: memory, SQLite or Redis. docs/state.md says what each guarantees.
"""

from .backend import Admission, Entry, Outcome, Page, Sum, Swap
from .namespace import MAX_BATCH, MAX_PAGE, Namespace
from .quota import MAX_KEY, Quota
from .store import Store, memory_store, open_store

__all__ = [
    "MAX_BATCH",
    "MAX_KEY",
    "MAX_PAGE",
    "Admission",
    "Entry",
    "Namespace",
    "Outcome",
    "Page",
    "Quota",
    "Store",
    "Sum",
    "Swap",
    "memory_store",
    "open_store",
]
