"""How often signing in failed: after a few failures from one address, nobody there is listened to for a while."""

import ipaddress
import math
import threading
from collections import OrderedDict, deque
from http import HTTPStatus

from taskbus.clock import Clock
from taskbus.web.refusal import Refusal

MOST = 10
WITHIN = 300.0
ADDRESSES = 10_000
"""Addresses that are remembered at most; those that failed longest ago are forgotten first."""


class Failures:
    """Counts failures by address (of IPv6: by network), for any thread."""

    def __init__(self, clock: Clock, most: int = MOST, within: float = WITHIN) -> None:
        self._clock, self._most, self._within = clock, most, within
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raise ``Refusal`` if too much has failed from there lately."""
        with self._lock:
            recent = self._recent(_key(address))
            wait = recent[0] + self._within - self._clock() if len(recent) >= self._most else 0.0
        if wait > 0:
            raise Refusal(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"signing in failed {self._most} times from this address",
                f"try again in {math.ceil(wait)} s",
                headers={"Retry-After": str(math.ceil(wait))},
            )

    def add(self, address: str) -> None:
        """Count one more."""
        key = _key(address)
        with self._lock:
            recent = self._recent(key)
            recent.append(self._clock())
            while len(recent) > self._most:
                recent.popleft()
            self._failed[key] = recent
            self._failed.move_to_end(key)
            while len(self._failed) > ADDRESSES:
                self._failed.popitem(last=False)

    def _recent(self, key: str) -> deque[float]:
        recent = self._failed.get(key, deque())
        since = self._clock() - self._within
        while recent and recent[0] <= since:
            recent.popleft()
        return recent


def _key(address: str) -> str:
    """Who owns one address of IPv6 owns its whole /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
