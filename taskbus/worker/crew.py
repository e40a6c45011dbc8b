"""Keeps the right number of runners alive: forks, replaces and retires them, and tells who has left and of what."""

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from taskbus.config import OVERRIDES, Config
from taskbus.middleware import serving, working
from taskbus.worker.launch import Launched, launch
from taskbus.worker.options import WorkerOptions, processes
from taskbus.worker.runner.loading import hello, load_app
from taskbus.worker.runners import MAX_PROGRESSED, Runner, RunnerServer
from taskbus.worker.settlement import Held
from taskbus.worker.solo import SoloRunner

logger = logging.getLogger(__name__)

MEMORY_CHECK = 1.0
RESTART_DELAY, MAX_RESTART_DELAY = 0.1, 5.0


class Departure(NamedTuple):
    """A runner that has left. ``how`` is empty if it was told to and did so in good order."""

    runner: Runner
    how: str


class Crew:
    """The runners of one worker, and the server they come from.

    ``watch`` and ``unwatch`` (un)register a socket with the supervisor's loop. ``launched``: a server that was started
    early, to be the first. ``progressed``: attempts that have said how far they have come. ``departures``: runners that
    have left, by why: ``retired`` or ``died``.
    """

    def __init__(
        self,
        options: WorkerOptions,
        watch: Callable[[Any], None],
        unwatch: Callable[[Any], None],
        launched: Launched | None = None,
    ) -> None:
        self._options = options
        self._launched = launched
        self._watch = watch
        self._unwatch = unwatch
        self.runners: dict[int, Runner] = {}
        self.departures = {"retired": 0, "died": 0}
        self.server: RunnerServer | None = None
        self.is_stopping = False
        self.progressed: deque[Held] = deque(maxlen=MAX_PROGRESSED)
        self._lives = ExitStack()
        self._config = Config()
        self.size = 0
        self._slots = 0
        self._numbers = 0
        self._has_imported = False
        self._fork_after = 0.0
        self._early_deaths = 0
        self._memory_check_at = 0.0
        self._announced: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def start(self) -> dict[str, Any]:
        """Import the app, in a process of its own, and return what it says of itself."""
        if self._options.pool == "solo":
            return self._start_solo()
        self.server = RunnerServer(self._launched or launch(self._options))
        said = self.server.hello()
        self._has_imported = True
        self._watch(self.server)
        return said

    def _start_solo(self) -> dict[str, Any]:
        os.environ[OVERRIDES] = json.dumps(self._options.settings())  # the app reads them where it is imported: here
        app = load_app(self._options.app)
        del os.environ[OVERRIDES]
        self._lives.enter_context(working(app.middleware))
        self._lives.enter_context(serving(app.middleware))
        self.runners[0] = SoloRunner(app)
        self.progressed = self.runners[0].progressed
        self._watch(self.runners[0])
        return hello(app)

    def configure(self, config: Config) -> None:
        """Take the settings that the app came with."""
        self._config = config
        self._slots = max(1, config.threads) + config.coroutines
        self.size = 0 if self.server is None else processes(config)

    @property
    def is_complete(self) -> bool:
        """Whether every runner is there and has said so."""
        return len(self.runners) >= self.size and all(runner.is_up for runner in self.runners.values())

    def tick(self, now: float) -> None:
        """Fork what is missing, retire what has grown too big."""
        if self.is_stopping:
            return
        if self.server is None and self.size and now >= self._fork_after:
            self._start_server_again()
        while len(self.runners) < self.size and now >= self._fork_after and self.server and self._has_imported:
            self._numbers += 1
            try:
                runner = self.server.fork(self._numbers, self._slots)
            except OSError as error:  # no descriptors left; or the server is dying, which its link will tell
                logger.error("cannot start a runner (%s); trying again in %.1f s", error, self._put_off(now))
                break
            if self._config.max_tasks_per_runner:
                runner.budget = self._config.max_tasks_per_runner
            runner.progressed = self.progressed
            self.runners[runner.number] = runner
            self._watch(runner)
            for frame in self._announced.values():
                runner.send(*frame)
        limit = self._config.max_memory_per_runner
        if limit and now >= self._memory_check_at:
            self._memory_check_at = now + MEMORY_CHECK
            for runner in self.runners.values():
                if not runner.is_stopping and runner.resident() > limit:
                    logger.info(
                        "runner %d holds %d bytes, more than max_memory_per_runner: replacing it", runner.pid, limit
                    )
                    self.retire(runner)

    def next_at(self, now: float) -> float | None:
        """When ``tick`` has something to do next, by the monotonic clock."""
        if len(self.runners) < self.size and not self.is_stopping and (self.server is None or self._has_imported):
            return max(now, self._fork_after)
        return self._memory_check_at if self._config.max_memory_per_runner else None

    def announce(self, *frame: Any) -> None:
        """Send a frame to all runners, also those to come; one with the same first two parts replaces the earlier."""
        self._announced[frame[:2]] = frame
        for runner in self.runners.values():
            runner.send(*frame)

    def resize(self, size: int) -> None:
        """Have so many runners: ``tick`` forks what is missing, the idlest of those too many are retired."""
        self.size = size
        staying = [runner for runner in self.runners.values() if not runner.is_stopping]
        for runner in sorted(staying, key=lambda runner: len(runner.held))[: max(0, len(staying) - size)]:
            self.retire(runner)

    def retire(self, runner: Runner) -> None:
        """Let a runner finish what it has started, return the rest, and leave."""
        if not runner.is_stopping:
            runner.is_stopping = True
            runner.send("stop")

    def news(self, now: float) -> Iterator[Departure]:
        """What the server has to say: which runners have left, and that a new server has imported the app."""
        if self.server is None:
            return
        try:
            for kind, number, *rest in self.server.frames.receive():
                if kind == "forked" and number in self.runners:
                    self.runners[number].started(rest[0])
                elif kind == "exited" and number in self.runners:
                    yield self._departed(self.runners[number], rest[1], now)
                elif kind == "ready":
                    self._has_imported = True
                elif kind == "failed":
                    logger.error("the app cannot be imported any more: %s", number)
        except BlockingIOError:
            return
        except EOFError:
            yield from self._bereft(now)

    def _departed(self, runner: Runner, how: str, now: float) -> Departure:
        del self.runners[runner.number]
        self.departures["retired" if runner.is_stopping and not how else "died"] += 1
        self._unwatch(runner)
        if runner.is_up:
            self._early_deaths = 0
        else:
            delay = self._put_off(now)
            logger.error("a runner died before it was ready (%s); next one in %.1f s", how or "exit status 0", delay)
        return Departure(runner, how if how or runner.is_stopping else "exit status 0")

    def _put_off(self, now: float) -> float:
        """Let the next runner wait, longer each time; returns for how long."""
        delay: float = min(RESTART_DELAY * 2**self._early_deaths, MAX_RESTART_DELAY)
        self._early_deaths = min(self._early_deaths + 1, 10)
        self._fork_after = now + delay
        return delay

    def _bereft(self, now: float) -> Iterator[Departure]:
        """The server has died, and with it (by the kernel's word) every runner."""
        if self.server is not None:
            self._unwatch(self.server)
            self.server.close()
        self.server, self._has_imported = None, False
        for runner in list(self.runners.values()):
            runner.kill()
            yield self._departed(runner, "the death of the runners' server", now)
        if not self.is_stopping:
            logger.error("the runners' server died; starting another one in %.1f s", self._put_off(now))

    def _start_server_again(self) -> None:
        """Without waiting for the import, which may take longer than the lease: ``news`` will tell that it is done."""
        self.server = RunnerServer(launch(self._options))
        self.server.link.setblocking(False)
        self._watch(self.server)

    def kill(self) -> None:
        """SIGKILL every runner."""
        for runner in self.runners.values():
            runner.kill()

    def close(self) -> None:
        for runner in self.runners.values():
            self._unwatch(runner)
            runner.close()
        self.runners.clear()
        self._lives.close()
        if self.server is not None:
            self._unwatch(self.server)
            self.server.close()
            self.server = None
