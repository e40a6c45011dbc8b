"""A user's application, run twice: as Celery's, and as taskbus_celery's. FRAMEWORK says which; NOTES is a folder."""

import importlib
import json
import os
import time
from pathlib import Path

framework = os.environ["FRAMEWORK"]
lib = importlib.import_module(framework)
signals = importlib.import_module(f"{framework}.signals")
exceptions = importlib.import_module(f"{framework}.exceptions")
get_task_logger = importlib.import_module(f"{framework}.utils.log").get_task_logger

NOTES = Path(os.environ["NOTES"])


def note(key, *what):
    """Remember that something happened, in order."""
    with (NOTES / key).open("a") as notes:
        notes.write(json.dumps(what) + "\n")


def noted(key):
    file = NOTES / key
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


app = lib.Celery("shop", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(
    task_routes={"both_app.routed_*": {"queue": "special"}, "by.name": "special"},
    task_queues=None,
    result_expires=600,
    task_default_priority=3,
    worker_prefetch_multiplier=1,
    task_annotations={"both_app.annotated": {"max_retries": 7}},
)
logger = get_task_logger(__name__)


class Oops(Exception):
    """A user's own."""


@app.task
def add(x, y=10):
    return x + y


@app.task(name="by.name")
def named():
    return "named"


@app.task
def routed_one():
    return "routed"


@app.task(bind=True)
def who(self, *args, **kwargs):
    request = self.request
    return {
        "name": self.name,
        "id is id": request.id == kwargs.get("expect", request.id),
        "retries": request.retries,
        "args": list(request.args),
        "kwargs": dict(request.kwargs),
        "eager": request.is_eager,
        "direct": request.called_directly,
        "root is own": request.root_id == request.id,
        "parent": request.parent_id,
        "queue": request.delivery_info["routing_key"],
        "exchange": request.delivery_info["exchange"],
        "host": request.hostname.split("@")[0],
        "headers": (request.headers or {}).get("trace"),
        "number": getattr(request, "number", None),
        "limits": request.timelimit,
        "current": lib.current_task.name,
    }


@app.task(ignore_result=True)
def silent():
    note("silent", "ran")
    return 5


@app.task
def fail(kind):
    if kind == "key":
        raise KeyError("lost")
    if kind == "own":
        raise Oops("my fault")
    raise ValueError("bad value")


@app.task
def types(when, number, mapping):
    return [when, number, sorted(mapping)]


@app.task(bind=True, max_retries=2, default_retry_delay=0)
def retry_by_hand(self, key, until):
    note(key, self.request.retries)
    if self.request.retries < until:
        try:
            raise Oops("not yet")
        except Oops as error:
            raise self.retry(exc=error, countdown=0) from error
    return self.request.retries


@app.task(bind=True, max_retries=1)
def retry_without_a_reason(self):
    self.retry(countdown=0)


@app.task(bind=True, max_retries=3)
def retry_with_other_arguments(self, n, flavour="plain"):
    note("others", n, flavour, self.request.retries)
    if n < 3:
        self.retry(args=(n + 1,), kwargs={"flavour": f"{flavour}!"}, countdown=0)
    return [n, flavour, self.request.retries]


@app.task(bind=True, autoretry_for=(Oops,), max_retries=2, retry_backoff=0.01, retry_jitter=False, retry_backoff_max=0)
def retry_by_itself(self, key, until):
    note(key, self.request.retries)
    if self.request.retries < until:
        raise Oops("again")
    return "done"


@app.task(
    bind=True,
    autoretry_for=(Exception,),
    dont_autoretry_for=(KeyError,),
    retry_kwargs={"max_retries": 2, "countdown": 0},
)
def retry_but_not_for(self, key, kind):
    note(key, self.request.retries)
    raise {"key": KeyError, "value": ValueError}[kind]("x")


@app.task(bind=True)
def ignore(self):
    self.update_state(state="CUSTOM", meta={"left": 3})
    raise exceptions.Ignore()


@app.task
def reject():
    raise exceptions.Reject("no", requeue=False)


@app.task(bind=True)
def progress(self, key):
    self.update_state(state="PROGRESS", meta={"done": 1, "of": 2})
    note(key, "said")
    deadline = time.monotonic() + 30
    while not noted(f"{key}.go") and time.monotonic() < deadline:
        time.sleep(0.01)
    return "finished"


@app.task(soft_time_limit=0.3, time_limit=20)
def soft():
    try:
        time.sleep(15)
    except exceptions.SoftTimeLimitExceeded:
        return "cleaned up"
    return "never"


class Hooked(lib.Task):
    """A base class with everything that can be overridden."""

    tag = "class attribute"

    def before_start(self, task_id, args, kwargs):
        note("hooks", self.name, self.request.retries, "before_start", list(args), dict(kwargs))

    def on_success(self, retval, task_id, args, kwargs):
        note("hooks", self.name, self.request.retries, "on_success", retval)

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("hooks", self.name, self.request.retries, "on_failure", repr(exc), "ValueError" in str(einfo))

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note("hooks", self.name, self.request.retries, "on_retry", repr(exc))

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note("hooks", self.name, self.request.retries, "after_return", status, repr(retval))


@app.task(base=Hooked, bind=True)
def hooked_well(self, x):
    return [self.tag, x]


@app.task(base=Hooked)
def hooked_badly():
    raise ValueError("hooked")


@app.task(base=Hooked, bind=True, max_retries=1)
def hooked_again(self):
    raise self.retry(countdown=0, exc=ValueError("once more"))


class Calling(lib.Task):
    def __call__(self, *args, **kwargs):
        return ["called", self.run(*args, **kwargs)]


@app.task(base=Calling)
def called(x):
    return x


class OfAClass(lib.Task):
    name = "of.a.class"

    def __init__(self):
        self.count = 40

    def run(self, x):
        return self.count + x


of_a_class = app.register_task(OfAClass())


@lib.shared_task
def shared(x):
    return x * 2


@lib.shared_task(bind=True, name="shared.bound")
def shared_bound(self, x):
    return [self.name, x]


@app.task(bind=True)
def annotated(self):
    return self.max_retries


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def listed(*args):
    return list(args)


@app.task
def on_error_id(task_id, key):
    note(key, "id", task_id)


@app.task
def on_error_full(request, exc, traceback):
    note(exc.args[0], "full", request.id, type(exc).__name__, bool(traceback))


@app.task
def fail_as(key):
    raise Oops(key)


@app.task
def keep(value, key):
    note(key, value)
    return value


@app.task(bind=True)
def replaced(self, x):
    return self.replace(add.s(x, 100))


@app.task(bind=True)
def replaced_by_chain(self, x):
    raise self.replace(lib.chain(add.s(x, 1), add.s(1)))


@app.task(bind=True)
def replaced_by_group(self, x):
    return self.replace(lib.group(add.s(x, 1), add.s(x, 2)))


@app.task(bind=True)
def family(self, below):
    request = self.request
    note("family", below, request.id, request.parent_id, request.root_id)
    if below:
        family.delay(below - 1)
    return request.id


@app.task
def waits_inside():
    return add.delay(1, 1).get()


@app.task
def calls_inside(x):
    return [add(x, 1), who.run.__name__]


# --- signals ---


@signals.task_prerun.connect
def on_prerun(sender=None, task_id=None, task=None, args=None, kwargs=None, **rest):
    if sender.name.startswith("both_app.hooked"):
        note("hooks", sender.name, sender.request.retries, "prerun", task is sender, list(args))


@signals.task_postrun.connect
def on_postrun(sender=None, retval=None, state=None, **rest):
    if sender.name.startswith("both_app.hooked"):
        note("hooks", sender.name, sender.request.retries, "postrun", state, type(retval).__name__)


@signals.task_success.connect
def on_success(sender=None, result=None, **rest):
    if sender.name.startswith("both_app.hooked"):
        note("hooks", sender.name, sender.request.retries, "success", result)


@signals.task_failure.connect
def on_failure(sender=None, exception=None, einfo=None, args=None, **rest):
    if sender.name.startswith("both_app.hooked"):
        note("hooks", sender.name, sender.request.retries, "failure", repr(exception), list(args))


@signals.task_retry.connect
def on_retry(sender=None, request=None, reason=None, **rest):
    if sender.name.startswith("both_app.hooked"):
        note("hooks", sender.name, sender.request.retries, "retry", repr(reason.exc), request.retries)


@signals.task_prerun.connect(sender=add)
def only_add(sender=None, **rest):
    note("only_add", sender.name)


@signals.before_task_publish.connect
def before(sender=None, headers=None, body=None, routing_key=None, **rest):
    headers["trace"] = f"trace of {headers['task']}"
    if sender == "both_app.who":
        note("publish", "before", sender, list(body[0]), routing_key)


@signals.after_task_publish.connect(sender="both_app.who")
def after(sender=None, headers=None, routing_key=None, **rest):
    note("publish", "after", sender, headers["trace"], routing_key)


@signals.worker_init.connect
def on_worker_init(**rest):
    note("lives", "worker_init")


@signals.worker_process_init.connect
def on_process_init(**rest):
    note("lives", "worker_process_init")


@signals.worker_ready.connect
def on_worker_ready(sender=None, **rest):
    note("lives", "worker_ready", "@" in sender.hostname)


@signals.worker_process_shutdown.connect
def on_process_shutdown(pid=None, **rest):
    note("lives", "worker_process_shutdown", pid == os.getpid())


@signals.worker_shutdown.connect
def on_worker_shutdown(**rest):
    note("lives", "worker_shutdown")
