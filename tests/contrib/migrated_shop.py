"""An application of Celery's with something of everything, for `taskbus migrate celery`."""

from celery import Celery, Task, shared_task, signals
from celery.schedules import crontab
from kombu import Queue

app = Celery("shop", broker="redis://:s3cret@localhost/0", backend="db+postgresql://me:s3cret@localhost/shop")
app.conf.update(
    task_acks_late=True,
    accept_content=["json"],
    task_routes={"migrated_shop.im_*": {"queue": "images"}},
    task_queues=(Queue("celery"), Queue("images")),
    result_expires=3600,
    worker_max_memory_per_child=200_000,
    worker_agent="my.Agent",
    beat_schedule={
        "nightly": {"task": "migrated_shop.add", "schedule": crontab(hour=3, minute=0), "args": (1, 2)},
        "odd": {"task": "migrated_shop.add", "schedule": crontab(day_of_week=1, day_of_month="1-7")},
    },
)


class Telling(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        pass


@app.task
def add(x, y):
    return x + y


@app.task(
    bind=True, base=Telling, autoretry_for=(OSError,), retry_backoff=2, max_retries=5, rate_limit="1/s", time_limit=30
)
def im_resize(self):
    pass


@shared_task(ignore_result=True, queue="mail", name="mail.send", acks_late=False)
def send():
    pass


@signals.worker_process_init.connect
def prepare(**_):
    pass


@signals.task_received.connect
def receive(**_):
    pass
