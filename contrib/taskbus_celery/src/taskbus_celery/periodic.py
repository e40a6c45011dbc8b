"""``beat_schedule`` as TaskBus has it."""

from typing import Any

from taskbus_celery.exceptions import warn_once


def keep_schedule(app: Any) -> None:
    """Give the entries of ``beat_schedule`` to TaskBus, where it has a scheduler."""
    if app.conf.beat_schedule:
        warn_once(
            "beat_schedule has no effect yet, as this TaskBus has no scheduler; send from cron, by `taskbus call`: "
            + ", ".join(sorted(app.conf.beat_schedule))
        )
