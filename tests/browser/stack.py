"""What a page is looked at with: a worker, a beat and ``taskbus web`` as processes, on one broker."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from taskbus import TaskBus
from taskbus.broker.queues import QueueSize
from taskbus.store.base import DeadLetter, Filter
from taskbus.web.auth.hashing import hash_token, new_token
from taskbus.wire import compact

HERE = Path(__file__).parent
ROLES = ("viewer", "operator", "admin")


def wait_until(condition: Callable[[], object], what: str, timeout: float = 20.0) -> None:
    """Return as soon as ``condition`` holds; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    pause = Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        pause.wait(0.02)


class Stack:
    """One broker, and the processes on it that a test wants; ``app`` sends to it, in this process."""

    def __init__(self, folder: Path, broker: str = "", app: str = "shop:app") -> None:
        import shop

        self.folder, self.app_path = folder, app
        self.broker_url = broker or f"sqlite:///{folder}/shop.db"
        self.app = TaskBus("shop", broker=self.broker_url, unknown_task_grace=0, sweep=0.5)
        for task in shop.app.tasks.values():
            self.app._adopt(task)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.tokens = {role: new_token() for role in ROLES}
        self.url = ""

    # --- processes -----------------------------------------------------------------------------------------------

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """``taskbus COMMAND``, whose log is ``NAME.log``."""
        path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        clean = {key: value for key, value in os.environ.items() if not key.startswith("TASKBUS_")}
        entries = ",".join(f"{role}:{role}:{hash_token(token)}" for role, token in self.tokens.items())
        history = f"sqlite:///{self.folder}/history.db"
        environment = {
            **clean, "PYTHONPATH": path, "TASKBUS_BROKER": self.broker_url, "TASKBUS_WEB_TOKENS": entries,
            "TASKBUS_HISTORY": history, "TASKBUS_WEB_ENVIRONMENT": "tests",
        }  # fmt: skip
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "taskbus", *command, "-A", self.app_path],
                env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes[name] = process
        return process

    def start_worker(self, name: str = "ann", *options: str) -> None:
        """A worker of two slots, unless the options say otherwise."""
        self.start(name, "worker", "--name", name, "-P", "prefork", "-c", "2", *options)

    def start_web(self, *options: str) -> None:
        """The web server; returns when it answers."""
        self.start("web", "web", "--port", "0", "--auth", "token", *options)
        wait_until(lambda: self._address() or self.processes["web"].poll() is not None, "the web server", 60)
        self.url = self._address()
        assert self.url, self.log("web")

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """Signal a process, and wait for its end."""
        process = self.processes.pop(name)
        if process.poll() is None:
            process.send_signal(number)
        process.wait(20)

    def close(self) -> None:
        """End all of them, by force if they do not go."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        self.app.close()

    def ask(self, path: str, role: str = "admin", body: Any = None) -> Any:
        """What the API answers; ``{"status": ...}`` in what is refused."""
        request = Request(f"{self.url}/api/v1/{path}", headers={"Authorization": f"Bearer {self.tokens[role]}"})
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                return {"status": error.code, **json.load(error)}

    def log(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _address(self) -> str:
        found = re.findall(r"web (http://\S+)  pid", self.log("web"))
        return str(found[-1]).rstrip("/") if found else ""

    # --- what became of it ---------------------------------------------------------------------------------------

    def send(self, task: str, *args: Any, queue: str = "", countdown: float = 0.0, **names: Any) -> str:
        """Send a task by name; its id."""
        options = {**({"queue": queue} if queue else {}), **({"countdown": countdown} if countdown else {})}
        return self.app.send(task, args, names, **options).id

    def state(self, task_id: str) -> str:
        """As the store has it, "" if it knows nothing."""
        found = self.app.store.results([task_id]).get(task_id)
        return found.state.value if found else ""

    def wait_for(self, task_id: str, state: str = "SUCCESS") -> None:
        wait_until(lambda: self.state(task_id) == state, f"{state} of {task_id}, not {self.state(task_id)!r}")

    def waiting(self, queue: str) -> list[str]:
        """Ids of what waits in a queue, due or not."""
        return [compact.decode(each.wire, queue, 0, 1 << 20).id for each in self.app.broker.peek(queue, 1000)]

    def size(self, queue: str) -> QueueSize | None:
        return next((each for each in self.app.broker.queues() if each.name == queue), None)

    def letters(self, **where: Any) -> Sequence[DeadLetter]:
        return self.app.store.dead_letters(Filter(**where), limit=1000)

    def notes(self) -> list[str]:
        """What tasks noted that they did, in order."""
        file = self.folder / "notes"
        return file.read_text().splitlines() if file.exists() else []

    def make(self, name: str) -> None:
        """A file that tasks look for."""
        (self.folder / name).touch()
