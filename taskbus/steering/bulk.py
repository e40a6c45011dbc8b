"""Acts on all dead letters that a filter means: how many they are, and jobs that go through them."""

from collections.abc import Iterator

from taskbus.app import TaskBus
from taskbus.steering.jobs import Job, Jobs, Step
from taskbus.steering.letters import Edit, dead_letters_of, edited
from taskbus.steering.refusal import Refusal
from taskbus.store.base import Filter
from taskbus.store.where import parse


def letters_meant(app: TaskBus, where: str) -> Filter:
    """The dead letters that ``where`` means, without those that come from now on. Raises ``ConfigError``."""
    return parse(where, app.clock())


def count(app: TaskBus, where: str) -> int:
    """How many dead letters a filter means now."""
    return dead_letters_of(app).count(letters_meant(app, where))


def replay(
    app: TaskBus, jobs: Jobs, where: str, *, edit: Edit | None = None, rate: float | None = None, by: str = ""
) -> Job:
    """Send the tasks of all that match again, in a job; a letter that may not be is counted as failed, and stays.

    ``edit``: with other arguments, if just one matches. ``rate``: so many a second at most.
    """
    dead, meant = dead_letters_of(app), letters_meant(app, where)
    total = dead.count(meant)
    change = None if edit is None else edited(app, edit)
    if change is not None and total > 1:
        raise Refusal(f"{total} dead letters match", "other arguments are for one at a time: name it by id:...")

    def work() -> Iterator[Step]:
        for replayed in dead.replay(meant, edit=change):
            if replayed.refused:
                yield Step(failed=1, error=f"{replayed.task_id}: {replayed.refused}")
            else:
                yield Step(done=1)

    return jobs.start("replay", work, total=total, where=where, by=by, rate=rate)


def purge(app: TaskBus, jobs: Jobs, where: str, *, by: str = "") -> Job:
    """Delete all that match for good, in a job; the tasks' results stay."""
    dead, meant = dead_letters_of(app), letters_meant(app, where)

    def work() -> Iterator[Step]:
        for number in dead.purged(meant):
            yield Step(done=number)

    return jobs.start("purge", work, total=dead.count(meant), where=where, by=by)
