"""How the Redis transport talks to its server: scripts with what they all need, and errors told in our own words."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from taskbus.broker.transports.broker_clock import BrokerClock
from taskbus.broker.transports.port import Opening
from taskbus.broker.transports.redis.keys import Keys
from taskbus.clock import wall_clock
from taskbus.database.redis import Link, RedisDatabase, RedisError, ReplyLost, Script, load
from taskbus.errors import BrokerError, ConfigError, PublishFailed, PublishUnknown


@lru_cache(maxsize=64)
def script(*names: str) -> Script:
    """The script in these files beside this one, after what all scripts begin with."""
    return load(__package__, "base.lua", *(f"{name}.lua" for name in names))


class _Call(threading.local):
    """The call that a thread is in."""

    ends_at: float | None = None


class Session:
    """The database of a storage, its clock, and how much time is left for the call of each thread."""

    def __init__(self, opening: Opening) -> None:
        self.database = RedisDatabase.open(opening.url, opening.timeout)
        self.keys = Keys(self.database.prefix)
        self.timeout = opening.timeout
        self.is_cluster = self.database.is_cluster
        self._given_clock = opening.clock
        self.has_passed_clock = opening.clock is not wall_clock
        self._call = _Call()
        self.now = BrokerClock(opening.clock, self._ask).now
        self.celery_queues = opening.celery_queues
        if self.is_cluster and self.celery_queues:
            raise ConfigError(
                f"celery_queues={sorted(self.celery_queues)} on a Redis Cluster, which Celery cannot use: its lists of"
                " one queue would be on several nodes; use a single Redis, with Sentinel perhaps"
            )
        self._registry = "" if self.is_cluster else self.keys.queues

    def link(self) -> Link:
        return self.database.link()

    def head(self) -> tuple[str, str, str]:
        """The first arguments of every script: see base.lua."""
        passed = "" if not self.has_passed_clock else repr(self._given_clock())
        return passed, self.keys.bells, self._registry

    def shared(self, queues: Sequence[str]) -> str:
        """As scripts read which of these queues Celery shares: a "1" or a "0" for each; "" where none could be."""
        celerys = self.celery_queues
        return "".join("1" if queue in celerys else "0" for queue in queues) if celerys else ""

    def run(self, name: Script, keys: Sequence[str], args: Sequence[Any] = (), **how: Any) -> Any:
        """Run a script on keys of one slot. Raises ``BrokerError``."""
        try:
            return self.attempt(name, keys, args, **how)
        except RedisError as error:
            raise failure(error) from error

    def attempt(self, name: Script, keys: Sequence[str], args: Sequence[Any] = (), **how: Any) -> Any:
        """The same. Raises ``RedisError``."""
        if self.is_cluster:
            keys = [*keys, f"{keys[0]}:nothing"]
        return self.database.link().script(name, keys, (*self.head(), *args), deadline=self.deadline(), **how)

    def run_on_each(self, name: Script, bases: Sequence[str], args: Sequence[Any] = (), **how: Any) -> list[Any]:
        """Run a script on all these keys at once; on a Cluster once for each. What it returned, each time."""
        return [self.run(name, together, args, **how) for together in self.apart(bases) if together]

    def apart(self, keys: Sequence[str]) -> Sequence[Sequence[str]]:
        """As they may go together: all of them, on a Cluster each alone."""
        return [[key] for key in keys] if self.is_cluster else [keys]

    def call(self, *command: Any) -> Any:
        """One command that may be repeated. Raises ``BrokerError``."""
        with self.errors():
            return self.database.link().call(*command, deadline=self.deadline(), repeatable=True)

    def pipeline(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Commands sent together that may be repeated. Raises ``BrokerError``."""
        with self.errors():
            return self.database.link().pipeline(commands, deadline=self.deadline(), repeatable=True)

    def deadline(self) -> float:
        """When the call that this thread is in must be over."""
        ends_at = self._call.ends_at
        return time.monotonic() + self.timeout if ends_at is None else ends_at

    @contextmanager
    def one_call(self) -> Iterator[None]:
        """A block of several round trips that has the time of one."""
        if self._call.ends_at is not None:
            yield
            return
        self._call.ends_at = time.monotonic() + self.timeout
        try:
            yield
        finally:
            self._call.ends_at = None

    @contextmanager
    def errors(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            raise failure(error) from error

    # --- the time ---

    def about_now(self) -> float:
        """This host's time: for what is only looked at."""
        return self._given_clock()

    def _ask(self) -> float:
        """The server's time: a quarter of the timeout is all it may take, since a send asks, and then publishes."""
        with self.errors():
            return self.database.link().now(min(self.deadline(), time.monotonic() + self.timeout / 4))


class Uses(Protocol):
    _session: Session


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Uses)


def in_time(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method of several round trips, which has the time of one call."""

    @wraps(method)
    def run(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._session.one_call():
            return method(self, *args, **kwargs)

    return cast(Callable[Concatenate[S, P], R], run)


def failure(error: RedisError) -> BrokerError:
    return BrokerError(f"{error} (it may have been done)" if isinstance(error, ReplyLost) else str(error))


def publish_failure(error: RedisError) -> PublishFailed:
    """What a failed publish means: surely not accepted, or perhaps."""
    if isinstance(error, ReplyLost):
        return PublishUnknown(f"{error}; the messages may be queued, or not: publish them again under the same ids")
    return PublishFailed(str(error))
