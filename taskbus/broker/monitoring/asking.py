"""Commands to workers, and their answers: what ``celery inspect`` and ``celery control`` do."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

# mypy: allow-untyped-calls
from kombu.clocks import LamportClock
from kombu.exceptions import OperationalError

from taskbus.broker.monitoring.line import mailbox
from taskbus.broker.monitoring.place import Place
from taskbus.errors import BrokerError


def ask(
    place: Place, method: str, arguments: Mapping[str, Any], *, nodes: Sequence[str], timeout: float
) -> dict[str, Any]:
    """What each of these nodes answers within ``timeout`` seconds, by name; without nodes, whoever is there.

    With nodes it returns as soon as all have answered. Raises ``BrokerError`` if the broker cannot be used.
    """
    with _speaking(place) as (box, channel):
        replies = box.call(list(nodes) or None, method, dict(arguments), timeout=timeout, channel=channel)
    return {node: reply for each in replies or () for node, reply in each.items()}


def tell(place: Place, method: str, arguments: Mapping[str, Any], *, nodes: Sequence[str]) -> None:
    """Say it to these nodes, or to all, and wait for no answer. Raises ``BrokerError`` if the broker cannot be used."""
    with _speaking(place) as (box, channel):
        box._publish(method, dict(arguments), destination=list(nodes) or None, channel=channel)


@contextmanager
def _speaking(place: Place) -> Iterator[tuple[Any, Any]]:
    """A mailbox and a channel of a connection that is closed at the end."""
    connection = place.connect()
    try:
        connection.ensure_connection(max_retries=1, interval_start=0)
        yield mailbox(LamportClock(), place.prefix)(connection), connection.channel()
    except (*connection.connection_errors, *connection.channel_errors, OperationalError) as error:
        raise BrokerError(f"{connection.as_uri()}: {error}") from error
    finally:
        connection.release()
