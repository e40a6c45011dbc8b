"""What an operator should know of tasks: a line for each that failed, none for those that did what they were asked."""

import logging
from collections.abc import Collection, Iterable, Mapping

from taskbus.monitor.concealing import shown_call
from taskbus.monitor.redaction import Redactor
from taskbus.outcome import Crashed, Dead, Failure, Retrying, Succeeded
from taskbus.wire import celery
from taskbus.worker.settlement import Ended, Held

logger = logging.getLogger(__name__)


class Teller:
    """Logs what became of attempts. ``redact``: names of secrets, as the setting of that name has them."""

    def __init__(self, redact: Iterable[str]) -> None:
        self._redactor = Redactor(redact)

    def tell(self, ended: Iterable[Ended], stale: Collection[int]) -> None:
        """Once it is settled. ``stale``: tags of deliveries that belong to another worker."""
        for each in ended:
            if type(each.outcome) is Succeeded or each.held.delivery.tag in stale:
                continue
            held, name, fields = each.held, named(each.held), fields_of(each.held)
            match each.outcome:
                case Dead(reason, failure):
                    letter, error = held.message.id if held.message else "ID", self._said(held, failure)
                    text = "%s is dead (%s): %s; see: taskbus dlq show %s"
                    logger.warning(text, name, reason, error, letter, extra=fields)
                case Retrying(delay, failure) if logger.isEnabledFor(logging.INFO):
                    attempt, error = held.message.attempt if held.message else 1, self._said(held, failure)
                    text = "%s failed in attempt %d: %s; again in %.1f s"
                    logger.info(text, name, attempt, error, delay, extra=fields)
                case Crashed(how, is_alone):
                    what = "crashed of" if is_alone else "was running beside others at"
                    logger.warning("%s %s %s", name, what, how, extra=fields)

    def _said(self, held: Held, failure: Failure) -> str:
        """The error in one line, without secrets, and without what terminals obey."""
        text = f"{failure.type}: {failure.message}" if failure.message else failure.type
        shown = self._redactor.text(text, self._secrets(held))  # whole: a secret may have several lines
        return "".join(letter if letter.isprintable() else "?" for letter in shown.partition("\n")[0])[:200]

    def _secrets(self, held: Held) -> Collection[str]:
        if held.message is None:
            return ()
        has_inputs = held.inputs is not None
        return shown_call(self._redactor, held.message, held.spec.parameters, has_inputs=has_inputs).secrets


def named(held: Held) -> str:
    """A held message in a log line: task and id."""
    message = held.message
    return f"{celery.shown_name(message)} {message.id}" if message else f"a message on {held.delivery.queue!r}"


def fields_of(held: Held) -> Mapping[str, object]:
    """The ``extra`` of a log line about a held message: the fields that lines have which its task logs itself."""
    message, queue = held.message, held.delivery.queue
    if message is None:
        return {"queue": queue}
    return {"task_id": message.id, "task": message.task, "attempt": message.attempt, "queue": queue}
