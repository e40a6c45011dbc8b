"""The names of keys and channels. All that belongs to one queue is in one slot of a Cluster: ``prefix:{queue}:...``."""

import re
from functools import lru_cache

from taskbus.errors import ConfigError

_HOME = "%broker"
"""What no queue is called: in the escaped name of a queue two digits follow a percent sign."""


class Keys:
    """The keys under one prefix; ``home`` is the base of what belongs to no single queue.

    Raises:
        ConfigError: the prefix has a brace in it, which Redis Cluster reads.
    """

    def __init__(self, prefix: str) -> None:
        if "{" in prefix or "}" in prefix:
            raise ConfigError(f"prefix={prefix!r} must have no braces in it")
        self.prefix = prefix
        self.home = f"{prefix}:{{{_HOME}}}"
        self.queues = f"{self.home}:queues"
        self.workers = f"{self.home}:workers"
        self.leases = f"{self.home}:leases"
        self.exchanges = f"{self.home}:exchanges"
        self.bells = f"{prefix}:bell:"

    def base(self, queue: str) -> str:
        """What the keys of a queue begin with."""
        return f"{self.prefix}:{{{escaped(queue)}}}"

    def bound(self, exchange: str) -> str:
        """The bindings of an exchange."""
        return f"{self.home}:bound:{exchange}"

    def routes(self, queue: str) -> str:
        """The bindings of a queue."""
        return f"{self.home}:routes:{queue}"


@lru_cache(maxsize=4096)
def escaped(queue: str) -> str:
    """The name of a queue without braces, never empty."""
    return _SPECIAL.sub(lambda match: f"%{ord(match[0]):02X}", queue) or "%empty"


@lru_cache(maxsize=4096)
def unescaped(name: str) -> str:
    return "" if name == "%empty" else _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)


_SPECIAL = re.compile(r"[%{}]")
_ESCAPE = re.compile(r"%([0-9A-F]{2})")
