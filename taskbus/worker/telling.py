"""What an operator should know of tasks: a line for each that failed, none for those that did what they were asked."""

import logging
from collections.abc import Collection, Iterable

from taskbus.monitor.redaction import Redactor
from taskbus.outcome import Crashed, Dead, Failure, Retrying, Succeeded
from taskbus.wire import celery
from taskbus.worker.settlement import Ended, Held

logger = logging.getLogger(__name__)
_REDACTOR = Redactor()


def tell(ended: Iterable[Ended], stale: Collection[int]) -> None:
    """Log what became of attempts, once it is settled. ``stale``: tags of deliveries that belong to another worker."""
    for each in ended:
        if type(each.outcome) is Succeeded or each.held.delivery.tag in stale:
            continue
        name = named(each.held)
        match each.outcome:
            case Dead(reason, failure):
                letter = each.held.message.id if each.held.message else "ID"
                logger.warning("%s is dead (%s): %s; see: taskbus dlq show %s", name, reason, _said(failure), letter)
            case Retrying(delay, failure):
                attempt = each.held.message.attempt if each.held.message else 1
                logger.info("%s failed in attempt %d: %s; again in %.1f s", name, attempt, _said(failure), delay)
            case Crashed(how, is_alone):
                logger.warning("%s %s %s", name, "crashed of" if is_alone else "was running beside others at", how)


def named(held: Held) -> str:
    """A held message in a log line: task and id."""
    message = held.message
    return f"{celery.shown_name(message)} {message.id}" if message else f"a message on {held.delivery.queue!r}"


def counted(number: int, thing: str) -> str:
    """ "1 task", "2 tasks"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _said(failure: Failure) -> str:
    """The error in one line, without secrets (by their look: arguments are not known here), and what terminals obey."""
    text = f"{failure.type}: {failure.message}" if failure.message else failure.type
    first = _REDACTOR.text(text.splitlines()[0]) if text else ""
    return "".join(letter if letter.isprintable() else "?" for letter in first)[:200]
