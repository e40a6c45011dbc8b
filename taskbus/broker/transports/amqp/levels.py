"""Which of the broker's queues a lease holder consumes: of each of its queues the levels that are there."""

from collections.abc import Sequence

from taskbus.broker.transports.amqp.inbox import Inbox, Subscription
from taskbus.broker.transports.amqp.naming import BACK, MAIN
from taskbus.broker.transports.amqp.topology import Topology


class Levels:
    """Known after ``learn``, until told to ``forget``."""

    def __init__(self, queues: Sequence[str], topology: Topology) -> None:
        self._queues = queues
        self._topology = topology
        self._known: dict[str, set[str]] = {}

    def forget(self) -> None:
        self._known.clear()

    def _make_again(self, until: float) -> None:
        """After a queue went: have all there that was known, since what is delayed may be on its way to any of them."""
        self._topology.forget()
        for queue, levels in self._known.items():
            for level in levels:
                self._topology.present(queue, level, until)
        self._known.clear()

    def learn(self, inbox: Inbox, until: float) -> bool:
        """Find out about all at first, later about what is announced; whether there is anything new."""
        naming = self._topology.naming
        if inbox.is_cancelled:
            inbox.is_cancelled = False  # now: another one may go meanwhile
            try:
                self._make_again(until)
            except BaseException:
                inbox.is_cancelled = True
                raise
        if not self._known:
            for queue in self._queues:
                self._topology.present(queue, MAIN, until)
            self._topology.declare_news(self._topology.line.calls(until), until)
            if not inbox.has_news:
                inbox.listen(self._queues, naming, until)
            found = self._topology.scan(self._queues, until)
            self._known = {queue: {MAIN, *levels} for queue, levels in found.items()}
            for queue in self._queues:
                # Made when something is first given back, it would be the youngest queue of all: after a kill of its
                # node such a one may have no leader, and whoever consumes from it waits for ever (RabbitMQ 3.10).
                # Whoever first uses it announces it, as if it were made then.
                self._topology.present(queue, BACK, until)
            return True
        news, inbox.news = inbox.news, []
        is_new = False
        for queue in self._queues if news else ():
            for full, level in news:
                if full == naming.queue(queue) and level in naming.levels and level not in self._known[queue]:
                    self._known[queue].add(level)
                    is_new = True
        return is_new

    def subscriptions(self, prefetch: int) -> list[Subscription]:
        return [
            Subscription(queue, level, min(prefetch, 65535))
            for queue, levels in self._known.items()
            for level in levels
        ]
