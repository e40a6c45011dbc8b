"""Shared memory in which a runner notes what it is running, so that its death cannot take the answer along.

One entry a slot, written before and cleared after each attempt: about 0.2 us, against 5 us for a message that says the
same. The supervisor reads it to enforce hard time limits and, after a crash, to tell the attempts that had started
from those that had not.
"""

import mmap
import os
import tempfile
from typing import NamedTuple

_ENTRY_BYTES = 16


class Running(NamedTuple):
    """An attempt in a slot. ``started`` is by the monotonic clock, which all processes of a host share."""

    slot: int
    tag: int
    started: float


class Board:
    """``slots`` entries in the file ``fd``. Tag 0 means an empty slot; tags therefore start at 1.

    An entry is a native 64-bit tag and a native double, each stored by one machine instruction. The tag is written
    last: a reader that comes between the two never sees a new tag with an old instant, and so never kills it for its
    age.
    """

    def __init__(self, fd: int, slots: int) -> None:
        self.fd = fd
        self.slots = slots
        self._memory = mmap.mmap(fd, max(1, slots) * _ENTRY_BYTES)
        self._view = memoryview(self._memory)
        self._tags = self._view.cast("Q")
        self._instants = self._view.cast("d")

    @classmethod
    def create(cls, slots: int) -> "Board":
        """A board in anonymous memory, to be handed to a runner as a file descriptor."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("taskbus-board")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        try:
            os.ftruncate(fd, max(1, slots) * _ENTRY_BYTES)
            return cls(fd, slots)
        except OSError:
            os.close(fd)
            raise

    def mark(self, slot: int, tag: int, started: float) -> None:
        """Note that ``slot`` runs ``tag``. The slot must be clear."""
        self._instants[2 * slot + 1] = started
        self._tags[2 * slot] = tag

    def clear(self, slot: int) -> None:
        """Note that ``slot`` is empty."""
        self._tags[2 * slot] = 0

    def running(self) -> list[Running]:
        """What runs now, by slot."""
        tags, instants = self._tags, self._instants
        entries = (Running(slot, tags[2 * slot], instants[2 * slot + 1]) for slot in range(self.slots))
        return [entry for entry in entries if entry.tag]

    def close(self) -> None:
        for view in (self._tags, self._instants, self._view):
            view.release()
        self._memory.close()
        os.close(self.fd)
