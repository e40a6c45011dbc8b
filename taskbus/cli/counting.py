"""A count kept in shared memory, so that a benchmark sees what task bodies did without asking any queue.

Depends on the standard library alone: the peers in ``benchmarks/`` load this very file in environments of their own, so
that every one of them counts at the same cost.
"""

import fcntl
import mmap
import os
import threading
from pathlib import Path

CELLS = 1024
STRIDE = 8  # in words of 8 bytes: a cache line a cell, so that processes do not slow each other down


class Counter:
    """A number that any thread of any process may count up, at the cost of an addition in memory.

    Each thread claims a cell of its own when it first counts, again after a fork, and leaves it to the next one when it
    ends. Cell 0 holds how many were claimed.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._cells = memoryview(mmap.mmap(self._fd, CELLS * STRIDE * 8)).cast("Q")
        self._path = path
        self._local = threading.local()
        self._left: list[int] = []
        os.register_at_fork(after_in_child=self._forget)

    @classmethod
    def create(cls, path: str) -> "Counter":
        """Make the file, all zero."""
        Path(path).write_bytes(bytes(CELLS * STRIDE * 8))
        return cls(path)

    def hit(self) -> None:
        """Count one."""
        try:
            cell = self._local.cell
        except AttributeError:
            cell = self._claim()
        self._cells[cell] += 1

    def total(self) -> int:
        """What all threads of all processes have counted."""
        return sum(self._cells[STRIDE::STRIDE])

    def _claim(self) -> int:
        try:
            cell = self._left.pop()
        except IndexError:
            cell = self._new()
        self._local.cell, self._local.claim = cell, _Claim(cell, self._left)
        return cell

    def _new(self) -> int:
        with open(self._path, "rb") as file:  # a description of its own, whose lock no other thread shares
            fcntl.flock(file, fcntl.LOCK_EX)
            number = self._cells[0] = self._cells[0] + 1
        if number >= CELLS:
            raise RuntimeError(f"more than {CELLS - 1} threads count here")
        return number * STRIDE

    def _forget(self) -> None:
        self._local, self._left = threading.local(), []


class _Claim:
    """Goes with its thread, and leaves the cell to another one."""

    def __init__(self, cell: int, left: list[int]) -> None:
        self._cell, self._left = cell, left

    def __del__(self) -> None:
        self._left.append(self._cell)
