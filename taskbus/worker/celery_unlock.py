"""``celery.chord_unlock``, run by the supervisor itself: it only reads results, and sends."""

import logging
from collections.abc import Sequence

from taskbus import codec
from taskbus.broker.delivery import Act, Settlement
from taskbus.celery_results import unlocking
from taskbus.celery_results.follow import complete
from taskbus.celery_results.port import CeleryResults, Joined
from taskbus.errors import CodecError, StoreError
from taskbus.outcome import Dead, Failure, Reason
from taskbus.worker.celery_desk import CeleryDesk
from taskbus.worker.settlement import Ended, Held, settlement

logger = logging.getLogger(__name__)


class CeleryUnlock:
    """Looks whether the parts of chords have ended, where Celery's results are not counted."""

    def __init__(self, desk: CeleryDesk) -> None:
        self._desk = desk

    def settled(self, mine: Sequence[Held], now: float) -> list[Settlement]:
        """How to settle each. A chord whose parts have not all ended is looked at again later, by the same message."""
        results = self._desk.results
        assert results is not None, "without results nobody takes this task"
        try:
            return self._look(results, mine, now)
        except StoreError as error:
            logger.warning("chords of Celery's wait, their results cannot be used: %s", error)
            return [Settlement(held.delivery, Act.RELEASE, unlocking.AGAIN_AFTER) for held in mine]

    def _look(self, results: CeleryResults, mine: Sequence[Held], now: float) -> list[Settlement]:
        settled: list[Settlement] = []
        asked: list[tuple[Held, unlocking.Unlock]] = []
        for held in mine:
            assert held.message is not None
            try:
                args, kwargs = codec.decode(held.message.body, held.message.content_type)
                asked.append((held, unlocking.asked(args, kwargs)))
            except CodecError as error:
                settled.append(self._buried(held, error, now))
        documents = results.documents(list({task_id for _, unlock in asked for task_id in unlock.ids()}))
        for held, unlock in asked:
            joined = unlock.joined(documents)
            if joined is None:
                settled.append(Settlement(held.delivery, Act.RELEASE, unlock.interval))
            else:
                try:
                    settled.append(self._go_on(results, held, unlock, joined, now))
                except CodecError as error:
                    settled.append(self._buried(held, error, now))
        return settled

    def _buried(self, held: Held, error: CodecError, now: float) -> Settlement:
        dead = Dead(Reason.BAD_ARGUMENTS, Failure("taskbus.errors.DecodeError", str(error)))
        return settlement(Ended(held, dead), self._desk.worker, now, self._desk.config)

    def _go_on(
        self, results: CeleryResults, held: Held, unlock: unlocking.Unlock, joined: Joined, now: float
    ) -> Settlement:
        message, desk = held.message, self._desk
        assert message is not None
        root = (message.celery or {}).get("headers", {}).get("root_id") or message.id
        following = complete(unlock.came(message.id, root), joined, desk.takes_error)
        results.save(desk.doomed(following.doomed, desk.config.result_ttl, now))
        return Settlement(held.delivery, follow_ups=desk.messages(following, held.delivery.queue, now))
