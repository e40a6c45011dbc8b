"""kombu's transports for Redis, asking less of the server: what they send and hear is the same.

kombu's own channel opens up to three connections, gives itself a name with a command of its own, subscribes to patterns
and keeps a table of who listens, of which something is left behind. A worker needs none of it: it has two connections,
one that hears and one that says, and needs few permissions (``docs/howto/secure_redis.md``).
"""

import encodings.idna  # noqa: F401 - this and secrets redis-py imports when it connects, and a fork would halve them
import secrets  # noqa: F401
from importlib.util import find_spec
from typing import Any

# mypy: allow-untyped-calls
from kombu.transport import redis

NAME = "taskbus-monitoring"
"""What ``CLIENT LIST`` calls these connections."""
HOUR = redis.MIN_BINDING_TTL
"""Milliseconds that kombu keeps a table at least whose deadline nobody puts off; to ask takes seconds."""

UNNAMED: dict[str, Any] = (
    {"driver_info": None} if find_spec("redis.driver_info") else {"lib_name": None, "lib_version": None}
)
"""What keeps redis-py from telling its own name with CLIENT SETINFO, in either of its generations."""


def greet(connection: Any) -> None:
    """Log in and say a name with the greeting, which every user may; CLIENT SETNAME is a permission of its own."""
    connection.on_connect()
    connection.send_command("HELLO", connection.protocol, "SETNAME", NAME)
    connection.read_response()


class Channel(redis.Channel):
    """Of one server."""

    @property
    def pool(self) -> Any:
        """The pool of the connection that hears: of what is idle in it, one is taken to say something."""
        return self.async_pool

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        asked: dict[str, Any] = super()._connparams(asynchronous)
        return asked | UNNAMED | {"redis_connect_func": greet, "protocol": 2}

    def _subscribe(self) -> None:
        """By name: what is subscribed to as a pattern a user must be allowed to the letter."""
        topics = [topic for queue in self.active_fanout_queues for topic in self._get_subscribe_topics(queue)]
        hearing = self.subclient
        if hearing.connection._sock is None:
            hearing.connection.connect()
        self._in_listen = hearing.connection
        hearing.subscribe(*topics)

    def _unsubscribe_from(self, queue: str) -> None:
        hearing = self.subclient
        if hearing.connection and hearing.connection._sock:
            hearing.unsubscribe(*self._get_subscribe_topics(queue))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Put a queue into its exchange's table as kombu does, without a script. Of fanouts nobody reads the table."""
        lives = self._expires.get(queue)
        if self.typeof(exchange).type == "fanout":
            self._fanout_queues[queue] = (exchange, routing_key)
            self.auto_delete_queues.discard(queue)
        elif lives is None:
            super()._queue_bind(exchange, routing_key, pattern, queue)
        else:
            with self.conn_or_acquire() as client:
                seconds, microseconds = client.time()
                ends = seconds * 1000 + microseconds // 1000 + max(lives * redis.BINDING_EXPIRES_FACTOR, HOUR)
                client.zadd(self.keyprefix_binding_deadlines, {exchange: ends}, gt=True)
                client.sadd(self.keyprefix_queue % exchange, self.sep.join([routing_key or "", pattern or "", queue]))

    def maybe_refresh_binding_expiry(self) -> None:
        """Nothing: who asks is done long before its table's deadline."""

    def _delete(self, queue: str, exchange: str, *args: Any, **kwargs: Any) -> None:
        """Delete a queue, and the deadline of its exchange's table if nobody is left in it."""
        super()._delete(queue, exchange, *args, **kwargs)
        with self.conn_or_acquire() as client:
            if not client.smembers(self.keyprefix_queue % exchange):
                client.zrem(self.keyprefix_binding_deadlines, exchange)


class SentinelChannel(Channel, redis.SentinelChannel):
    """Of the server that Sentinels name."""


class Transport(redis.Transport):
    """For ``redis://``."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """For ``sentinel://``."""

    Channel = SentinelChannel
