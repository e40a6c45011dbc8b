"""What becomes of what Celery's code says besides its settings: options of tasks, of calls, and signals.

Read by ``taskbus migrate celery``, and by the script that writes the page for those who come from Celery.
"""

from collections.abc import Mapping
from typing import NamedTuple

from taskbus.celery_settings import Verdict

SAME, DIFFERS, NEEDLESS, NOT = Verdict.SAME, Verdict.DIFFERS, Verdict.NEEDLESS, Verdict.NOT


class Words(NamedTuple):
    """A verdict, and what to know."""

    verdict: Verdict
    words: str


TASK_OPTIONS: Mapping[str, Words] = {
    "bind": Words(
        DIFFERS, "a first parameter `ctx: Context` in the place of `self`: ctx.task_id, ctx.attempt, ctx.retry()"
    ),
    "base": Words(DIFFERS, "no classes: wrap attempts by Middleware.running; taskbus_celery runs them as they are"),
    "name": Words(SAME, "`name=`; without it both take module.function"),
    "queue": Words(SAME, "`queue=`"),
    "routing_key": Words(DIFFERS, "a queue's name: `queue=`"),
    "exchange": Words(NOT, "a task goes to a queue by its name: `queue=`"),
    "priority": Words(DIFFERS, "`priority=`, 0 to 9, higher is sooner on every broker; Celery on Redis: lower"),
    "expires": Words(DIFFERS, "an option of the call: `.options(expires=...)`"),
    "time_limit": Words(SAME, "`time_limit=`; in threads and coroutines too"),
    "soft_time_limit": Words(SAME, "`soft_time_limit=`; in threads and coroutines too"),
    "serializer": Words(DIFFERS, "`serializer=`: msgpack or json, never pickle or yaml"),
    "ignore_result": Words(SAME, "the opposite: `store_results=False`"),
    "max_retries": Words(DIFFERS, "`retry=RetryPolicy(stop=stop_after_attempt(n + 1))`: attempts, not retries"),
    "default_retry_delay": Words(DIFFERS, "`retry=RetryPolicy(wait=wait_fixed(seconds))`"),
    "autoretry_for": Words(
        DIFFERS, "`retry=RetryPolicy(retry=retry_if_exception_type(...))`; the default is any Exception"
    ),
    "dont_autoretry_for": Words(DIFFERS, "`retry=RetryPolicy(retry=retry_if_not_exception_type(...))`"),
    "retry_backoff": Words(DIFFERS, "`retry=RetryPolicy(wait=wait_random_exponential(...))`, which is the default"),
    "retry_backoff_max": Words(DIFFERS, "the `max` of the wait; ten minutes, as in Celery"),
    "retry_jitter": Words(DIFFERS, "wait_exponential has none, wait_random_exponential has full jitter"),
    "retry_kwargs": Words(DIFFERS, "the stop and the wait of the RetryPolicy"),
    "throws": Words(NEEDLESS, "a failure is one line in the log, whatever it is"),
    "acks_late": Words(NEEDLESS, "always so; `at_most_once=True` for what may rather be lost than run twice"),
    "acks_on_failure": Words(NEEDLESS, "always so, with a dead letter"),
    "acks_on_failure_or_timeout": Words(NEEDLESS, "always so, with a dead letter"),
    "acks_on_timeout": Words(NEEDLESS, "always so, with a dead letter"),
    "reject_on_worker_lost": Words(NEEDLESS, "always so, up to `max_crashes` and `max_losses` times"),
    "retry_on_worker_lost": Words(NEEDLESS, "always so, up to `max_crashes` and `max_losses` times"),
    "store_errors_even_if_ignored": Words(NEEDLESS, "failures are always kept"),
    "track_started": Words(DIFFERS, "only in taskbus_celery, and seen by it alone; costs a write to the store"),
    "trail": Words(NEEDLESS, "a workflow knows its tasks: `taskbus flow show`"),
    "typing": Words(NEEDLESS, "arguments are always checked where the task is sent"),
    "send_events": Words(NEEDLESS, "telemetry is switched on for a worker, not for a task"),
    "rate_limit": Words(
        NOT, "not said in code; `taskbus control rate_limit NAME 10/m` tells running workers, each of them"
    ),
    "compression": Words(NOT, "messages are not compressed"),
    "pydantic": Words(NEEDLESS, "annotate the parameters with models: they are converted"),
    "resultrepr_maxsize": Words(NEEDLESS, "results are not shown in the log"),
    "Request": Words(NOT, "parts of the worker cannot be replaced"),
    "Strategy": Words(NOT, "parts of the worker cannot be replaced"),
}
"""By the name of the option of ``@app.task``, which is that of the task's attribute."""

CALL_OPTIONS: Mapping[str, Words] = {
    "countdown": Words(SAME, "waits in the broker, so it may be a year"),
    "eta": Words(SAME, "an aware datetime; taskbus_celery takes naive ones as Celery does"),
    "expires": Words(DIFFERS, "buried as a dead letter, which can be replayed; the state is REVOKED"),
    "queue": Words(SAME, "a name"),
    "priority": Words(DIFFERS, "0 to 9, higher is sooner on every broker; Celery on Redis: lower"),
    "task_id": Words(SAME, "sent again within `dedup_window` it is refused"),
    "headers": Words(DIFFERS, "text to text; taskbus_celery carries other values as JSON"),
    "link": Words(SAME, "given the value, as in Celery"),
    "link_error": Words(
        DIFFERS, "given a FailedTask; taskbus_celery gives the id, or request, exception and traceback"
    ),
    "serializer": Words(DIFFERS, "an option of the task"),
    "ignore_result": Words(DIFFERS, "an option of the task: `store_results=False`"),
    "time_limit": Words(DIFFERS, "an option of the task"),
    "soft_time_limit": Words(DIFFERS, "an option of the task"),
    "routing_key": Words(DIFFERS, "a queue's name: `queue=`"),
    "exchange": Words(NOT, "a task goes to a queue by its name"),
    "compression": Words(NOT, "messages are not compressed"),
    "shadow": Words(NOT, "a task is shown by its own name"),
    "stamped_headers": Words(NOT, "no stamps; use headers"),
    "retry": Words(NEEDLESS, "a send is tried again for `publish_timeout`"),
    "retry_policy": Words(NEEDLESS, "a send is tried again for `publish_timeout`"),
    "connection": Words(NEEDLESS, "the application has its own"),
    "producer": Words(NEEDLESS, "the application has its own"),
    "add_to_parent": Words(NEEDLESS, "a workflow knows its tasks"),
    "reply_to": Words(NEEDLESS, "results go to the store"),
}
"""By the name of the keyword of ``apply_async``."""

_RUNNER = "Middleware.serving; taskbus_celery sends it in each runner"
_WORKER = "Middleware.working; taskbus_celery sends it in the process that forks the runners"
_ATTEMPT = "Middleware.running; taskbus_celery sends it"
_SEND = "Middleware.sending; taskbus_celery sends it"
_NEVER = "it happens in the supervisor, which runs none of your code"
SIGNALS: Mapping[str, Words] = {
    **dict.fromkeys(("before_task_publish", "after_task_publish", "task_sent"), Words(DIFFERS, _SEND)),
    **dict.fromkeys(
        ("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry"), Words(DIFFERS, _ATTEMPT)
    ),
    **dict.fromkeys(
        ("celeryd_init", "celeryd_after_setup", "worker_init", "worker_ready", "worker_shutdown", "import_modules"),
        Words(DIFFERS, _WORKER),
    ),
    **dict.fromkeys(("worker_process_init", "worker_process_shutdown"), Words(DIFFERS, _RUNNER)),
    **dict.fromkeys(
        ("setup_logging", "after_setup_logger", "after_setup_task_logger"),
        Words(
            DIFFERS, "the command line configures logging, before the application is imported; taskbus_celery sends it"
        ),
    ),
    **dict.fromkeys(
        ("task_received", "task_revoked", "task_rejected", "task_unknown", "heartbeat_sent"), Words(NOT, _NEVER)
    ),
    "task_internal_error": Words(NOT, "an error of TaskBus's own ends its process, and is in its log"),
    "worker_shutting_down": Words(NOT, "a task asks ctx.shutting_down"),
    "worker_before_create_process": Words(NOT, "worker_init and worker_process_init come before and after"),
    **dict.fromkeys(("beat_init", "beat_embedded_init"), Words(NOT, "beat runs none of your code")),
    **dict.fromkeys(
        ("eventlet_pool_started", "eventlet_pool_preshutdown", "eventlet_pool_postshutdown", "eventlet_pool_apply"),
        Words(NOT, "there is no pool of that kind"),
    ),
    "user_preload_options": Words(NOT, "the command line is TaskBus's own"),
}
"""By the name of the signal."""

HABITS: Mapping[str, str] = {
    "early acks": (
        "a task whose worker dies is run again, where Celery has lost it: it must bear to be run twice; "
        "`at_most_once=True` for one that may rather be lost"
    ),
    "retries": "TaskBus tries any Exception again, three times; `retry=RetryPolicy.never()` for none, as in Celery",
    "dead letters": "what fails for good is kept, with its message, until it is replayed or purged: `taskbus dlq`",
    "delays": "countdown, eta and retries wait in the broker, not in a worker's memory: however long, they run once",
}
"""What everybody does, knowing it or not, and what differs."""
ALWAYS = ("dead letters", "delays")
"""Those that concern every application."""

HOOKS = (
    "before_start",
    "on_success",
    "on_failure",
    "on_retry",
    "after_return",
    "on_replace",
    "__call__",
    "shadow_name",
)
"""Methods that a base class of Celery's may override."""
