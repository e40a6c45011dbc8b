"""Claiming: what a worker takes under its lease, and what an earlier claim brought whose reply was lost."""

from collections.abc import Sequence
from typing import Any

from taskbus.broker.transports.port import Claimed, Claims, Holder
from taskbus.broker.transports.redis import element
from taskbus.broker.transports.redis.holding import Holders, Holding
from taskbus.broker.transports.redis.session import Session, failure, script
from taskbus.broker.transports.turns import in_turn
from taskbus.database.redis import RedisError, ReplyLost
from taskbus.errors import BrokerError, LeaseLost
from taskbus.failpoint import failpoint

SHORTEST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds until Celery's lists are looked at again: its producers ring no bell. Twice as long each time in vain."""
PROMOTE_LIMIT = 500
"""Delayed messages of a queue made ready in one claim; more wait for the next one: a script keeps others waiting."""
CLAIM, LOST = script("claim"), script("lost")


class Claiming:
    """How one storage claims, for holders that have a lease on the queues."""

    def __init__(self, session: Session, holders: Holders) -> None:
        self._session = session
        self._keys = session.keys
        self._holders = holders
        self._numbers: dict[str, int] = {}
        self._pause = SHORTEST_PAUSE

    def claim(self, holder: Holder, holding: Holding, queues: Sequence[str], limit: int) -> Claims:
        """See ``Storage.claim``."""
        if holding.must_look and (found := self._found_again(holder, holding, queues, limit)):
            return Claims(found, self._session.now())
        claims = self._claim_apart if self._session.is_cluster else self._claim
        claimed, next_due_at = claims(holder, holding, queues, limit)
        failpoint("fetch.after")
        return Claims(in_turn(claimed), next_due_at)

    def _claim(
        self, holder: Holder, holding: Holding, queues: Sequence[str], limit: int
    ) -> tuple[list[list[Claimed]], float | None]:
        """What is claimed in one step, queue by queue."""
        bases, shared = [self._keys.base(queue) for queue in queues], self._session.shared(queues)
        try:
            answer = self._session.attempt(
                CLAIM, bases, (holder.incarnation, limit, PROMOTE_LIMIT, shared), midway="fetch.inside"
            )
        except ReplyLost as error:
            holding.must_look = True
            raise failure(error) from error
        except RedisError as error:
            raise failure(error) from error
        if answer == 0:
            raise self._holders.forget(holder)
        now, next_due_at, promoted, *taken = answer
        if promoted:
            failpoint("promote.inside")
        due_at = float(next_due_at) if next_due_at else None
        if "1" in shared:
            look_at = float(now) + self._until_next_look(is_idle=not taken)
            due_at = look_at if due_at is None else min(look_at, due_at)
        return self._claimed(holding, queues, taken), due_at

    def _until_next_look(self, *, is_idle: bool) -> float:
        self._pause = min(LONGEST_PAUSE, self._pause * 2) if is_idle else SHORTEST_PAUSE
        return self._pause

    def _claim_apart(
        self, holder: Holder, holding: Holding, queues: Sequence[str], limit: int
    ) -> tuple[list[list[Claimed]], float | None]:
        """On a Cluster: an even share from each queue in a step of its own, then of the rest from those with more.

        An error after some were claimed is no error: the next claim will meet it.
        """
        claimed: list[list[Claimed]] = []
        dues: dict[str, float | None] = {}
        hungry, left = list(queues), limit
        while hungry and (left or not dues):
            share, still = max(1, left // len(hungry)) if left else 0, []
            for queue in hungry:
                asked = min(share, left)
                try:
                    found, dues[queue] = self._claim(holder, holding, [queue], asked)
                except BrokerError as error:
                    if claimed and not isinstance(error, LeaseLost):
                        return claimed, self._session.now()
                    raise
                got = sum(map(len, found))
                claimed += found
                left -= got
                if got and got == asked:
                    still.append(queue)
            hungry = still
        return claimed, min((due for due in dues.values() if due is not None), default=None)

    def _claimed(self, holding: Holding, queues: Sequence[str], taken: Sequence[Any]) -> list[list[Claimed]]:
        by_queue = []
        for index, first, elements in taken:
            queue, fence = queues[index - 1], int(first)
            holding.seen[queue] = fence + len(elements) - 1
            by_queue.append(element.claimed(queue, self._number(queue), fence, elements))
        return by_queue

    def _number(self, queue: str) -> int:
        number = self._numbers.get(queue)
        if number is None:
            number = self._numbers[queue] = len(self._numbers) & 0xFFFF
        return number

    def _found_again(self, holder: Holder, holding: Holding, queues: Sequence[str], limit: int) -> list[Claimed]:
        """What a claim brought whose reply was lost."""
        found: list[Claimed] = []
        for each in self._session.apart(queues):
            bases = [self._keys.base(queue) for queue in each]
            seen = [holding.seen.get(queue, 0) for queue in each]
            answer = self._session.run(LOST, bases, (holder.incarnation, limit - len(found), *seen), repeatable=True)
            if answer == 0:
                raise self._holders.forget(holder)
            found += [claimed for one in self._claimed(holding, each, answer) for claimed in one]
        holding.must_look = len(found) >= limit
        return sorted(found, key=lambda claimed: claimed.rank)
