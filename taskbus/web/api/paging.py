"""Pages of lists that are at hand as a whole."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from taskbus.web.refusal import unfit
from taskbus.web.shapes.basis import Paging

T = TypeVar("T")


def page_of(items: Sequence[T], query: Paging, key: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """The items behind the one that ``query.after`` names, and what to give as ``after`` for those that follow.

    ``items`` are in an order of their own; ``key`` tells each of them from all others. An item that is gone meanwhile
    begins the list anew.
    """
    start = next((at for at, item in enumerate(items, 1) if key(item) == query.after), 0) if query.after else 0
    page = items[start : start + query.limit]
    return page, key(page[-1]) if page and start + len(page) < len(items) else None


def position(text: str) -> tuple[float, str] | None:
    """An instant and an id out of an ``after`` made by ``after``; None for none. Raises ``Refusal``."""
    if not text:
        return None
    at, _, name = text.partition(":")
    try:
        return float(at), name
    except ValueError:
        raise unfit(f"after={text!r:.80} is none of this list's", "give what the list said as next") from None


def after(at: float, name: str) -> str:
    """What stands for an item by its instant and its id."""
    return f"{at!r}:{name}"
