"""The commands of remote control, by Celery's names: what each is for, and what it is given."""

from typing import NamedTuple


class Parameter(NamedTuple):
    """``kind``: what a word of a command line is read as. ``is_many``: all words that are left."""

    name: str
    kind: type = str
    is_needed: bool = True
    is_many: bool = False


class Command(NamedTuple):
    """``changes``: it can be switched off. ``is_answered``: whoever obeys says so."""

    name: str
    help: str
    parameters: tuple[Parameter, ...] = ()
    changes: bool = True
    is_answered: bool = True


TASK_IDS = Parameter("task_id", is_many=True)
TASK_NAME = Parameter("task_name")
NUMBER = Parameter("n", int, is_needed=False)
QUEUE = Parameter("queue")
ITEMS = Parameter("taskinfoitems", is_needed=False, is_many=True)

INSPECT = tuple(
    command._replace(changes=False)
    for command in (
        Command("ping", "Who is there?"),
        Command("active", "What runs, where, since when."),
        Command("reserved", "What workers hold that does not run yet."),
        Command("scheduled", "Always empty: what is not due waits in the broker."),
        Command(
            "registered", "The tasks that workers know.", (Parameter("taskinfoitems", is_needed=False, is_many=True),)
        ),
        Command("stats", "Counts, pool, memory and time used."),
        Command("active_queues", "The queues that workers consume."),
        Command("query_task", "Where tasks are, by id.", (Parameter("ids", is_many=True),)),
        Command("revoked", "The ids of tasks that will not run."),
        Command("conf", "Settings, without passwords."),
        Command("report", "What to put into a report about a fault."),
        Command("clock", "The logical clock of events."),
        Command("memsample", "The supervisor's memory, noted."),
        Command("memdump", "The latest samples of it.", (Parameter("samples", int, is_needed=False),)),
    )
)
CONTROL = (
    Command("revoke", "Let tasks not run.", (TASK_IDS,)),
    Command("terminate", "End tasks that run, and let them not run again.", (Parameter("signal"), TASK_IDS)),
    Command(
        "revoke_by_stamped_headers",
        "Let tasks not run that have a header NAME=VALUE.",
        (Parameter("headers", is_many=True),),
    ),
    Command(
        "rate_limit",
        "Let a task start so often in each worker, such as 10/m; 0: as often as it comes.",
        (TASK_NAME, Parameter("rate_limit")),
    ),
    Command(
        "time_limit",
        "Give a task other time limits, in seconds.",
        (TASK_NAME, Parameter("soft", float), Parameter("hard", float, is_needed=False)),
    ),
    Command("pool_grow", "Have N runners more.", (NUMBER,)),
    Command("pool_shrink", "Have N runners less.", (NUMBER,)),
    Command("pool_restart", "Replace all runners, each when it has finished."),
    Command("add_consumer", "Consume one more queue.", (QUEUE,)),
    Command("cancel_consumer", "Consume a queue no longer.", (QUEUE,)),
    Command("enable_events", "Tell of each task.", changes=False),
    Command("disable_events", "Tell of tasks no longer.", changes=False),
    Command("heartbeat", "Send a heartbeat now.", changes=False),
    Command("shutdown", "Stop in good order.", is_answered=False),
)
