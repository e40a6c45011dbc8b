"""What is told of a task that failed, to the tasks that are run because of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A task that failed, was revoked or could not run; a ``link_error`` task is given one.

    With ``collect=True`` it stands in a list of values, in the place of the one that is missing. ``error`` is the
    dotted name of the exception's class as text, ``message`` what it said.
    """

    task_id: str
    task: str
    error: str
    message: str
