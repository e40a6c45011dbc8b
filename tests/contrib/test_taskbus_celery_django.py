"""The way that users of Django have Celery: settings by a namespace, tasks found in applications, fresh connections."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

SETTINGS = """
INSTALLED_APPS = ["books"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "django.db"}}
USE_TZ = True
SECRET_KEY = "not one"
CELERY_BROKER_URL = "sqlite:///bus.db"
CELERY_TASK_DEFAULT_QUEUE = "django"
"""
CELERY = """
from taskbus_celery import Celery
app = Celery("site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
TASKS = """
from django.db import connection
from taskbus_celery import shared_task
from books.models import Book

@shared_task
def add(title):
    was_open = connection.connection is not None
    Book.objects.create(title=title)
    return [was_open, Book.objects.count()]
"""
MODELS = """
from django.db import models

class Book(models.Model):
    title = models.CharField(max_length=50)
"""
SCRIPT = """
import json
import django
django.setup()
from django.core.management import call_command
from django.db import transaction
call_command("migrate", run_syncdb=True, verbosity=0)
from website.celery import app
from books.models import Book
from books.tasks import add
sent = [add.delay(title).get(timeout=30) for title in ("one", "two")]
with transaction.atomic():
    add.delay_on_commit("three")
    Book.objects.create(title="in the transaction")
import time
deadline = time.monotonic() + 30
while Book.objects.count() < 4 and time.monotonic() < deadline:
    time.sleep(0.01)
print(json.dumps({"sent": sent, "titles": sorted(Book.objects.values_list("title", flat=True)),
                  "queue": app.bus.config.default_queue}))
"""


def write(folder: Path) -> None:
    for path, text in {
        "website/__init__.py": "", "website/settings.py": SETTINGS, "website/celery.py": CELERY,
        "books/__init__.py": "", "books/tasks.py": TASKS, "books/models.py": MODELS, "script.py": SCRIPT,
    }.items():  # fmt: skip
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


def test_a_site_of_djangos_runs_its_tasks(tmp_path: Path) -> None:
    write(tmp_path)
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "website.settings", "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "taskbus", "worker", "-A", "website.celery:app", "--processes", "1"]
    with (tmp_path / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [*command, "--log-format", "json"], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while b'"ready"' not in (tmp_path / "worker.log").read_bytes():
            assert worker.poll() is None and time.monotonic() < deadline, (tmp_path / "worker.log").read_text()
            Event().wait(0.01)
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, done.stderr + (tmp_path / "worker.log").read_text()
        worker.terminate()
        assert worker.wait(30) == 0
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    told = json.loads(done.stdout)
    assert told["sent"] == [[False, 1], [False, 2]], "each attempt has a connection of its own"
    assert told["titles"] == ["in the transaction", "one", "three", "two"]
    assert told["queue"] == "django"
