"""Stores in memory by the URL they were opened with: two who name the same one share it."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")


class Named(Generic[T]):
    """Those of one kind; each lasts as long as someone holds it."""

    def __init__(self) -> None:
        self._named: WeakValueDictionary[str, T] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, url: str, make: Callable[[], T]) -> T:
        """The one of that name, made if there is none."""
        with self._lock:
            store = self._named.get(url)
            if store is None:
                store = self._named[url] = make()
            return store
