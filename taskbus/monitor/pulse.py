"""How a process gets on, noted by the thread that does the work and read by any other: plain fields, no lock.

Noting costs a store of an attribute. Instants are of the monotonic clock, 0 is never.
"""

from collections.abc import Iterable

from taskbus.database.urls import redacted_text


class Contact:
    """Dealings with a broker: when they last went well, and since when they do not.

    ``failing_since`` is 0 while they go well; ``failure`` says of what they failed, without secrets. ``failures``: how
    often they failed, ever.
    """

    __slots__ = ("answered_at", "failing_since", "failure", "failures")

    def __init__(self) -> None:
        self.answered_at = 0.0
        self.failing_since = 0.0
        self.failure = ""
        self.failures = 0

    def answered(self, now: float) -> None:
        """It went well."""
        self.answered_at = now
        self.failing_since = 0.0

    def failed(self, now: float, act: str, error: Exception) -> None:
        """It did not."""
        self.failure = redacted_text(f"cannot {act}: {error}")
        self.failures += 1
        self.failing_since = self.failing_since or now


class Pulse:
    """``turned_at``: when the loop last began a turn. ``is_up``: all it needs was there once; ``is_stopping``: it ends.

    ``lends_its_thread``: its loop runs tasks itself, so that it cannot turn meanwhile.
    """

    __slots__ = ("contacts", "is_stopping", "is_up", "lends_its_thread", "turned_at")

    def __init__(self, contacts: Iterable[Contact], *, lends_its_thread: bool = False) -> None:
        self.contacts = tuple(contacts)
        self.turned_at = 0.0
        self.is_up = False
        self.is_stopping = False
        self.lends_its_thread = lends_its_thread

    @property
    def answered_at(self) -> float:
        """When the broker last answered anything."""
        return max(contact.answered_at for contact in self.contacts)

    @property
    def failing(self) -> Contact | None:
        """The contact that fails, for longest; None while all go well."""
        failing = [contact for contact in self.contacts if contact.failing_since]
        return min(failing, key=lambda contact: contact.failing_since or float("inf"), default=None)
