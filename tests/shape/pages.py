"""Reads the code in Markdown pages, and follows a page as its reader would: files, terminals, a Python prompt."""

import doctest
import itertools
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
DEADLINE = 30.0


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it is to be written to if it says so, and its text."""

    language: str
    file: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for match in FENCE.finditer(page.read_text()):
        language, _, rest = match["info"].strip().partition(" ")
        title = re.search(r'title="([^"]+)"', rest)
        yield Block(language, title[1] if title else "", match["text"])


@dataclass
class Reader:
    """Follows a page in ``folder``. Workers started in a terminal run until ``^C``, ``kill -9`` or the end."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)
    worker: "subprocess.Popen[str] | None" = None
    log: str = "worker.log"

    def follow(self, page: Path) -> None:
        for block in blocks(page):
            if block.file:
                (self.folder / block.file).write_text(block.text)
                forget_modules_of(self.folder)
            elif block.language == "pycon":
                self.prompt(block.text)
            elif block.language == "console":
                lines = block.text.splitlines()
                for number, line in enumerate(lines, start=1):
                    printed = itertools.takewhile(lambda line: not line.startswith("$ "), lines[number:])
                    self.type(line, "".join(f"{line}\n" for line in printed))

    def prompt(self, session: str) -> None:
        """Check a Python session like doctest; what a traceback says counts, not its frames."""
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL * ("...\n" in session)
        test = doctest.DocTestParser().get_doctest(session, self.names, "page", None, 0)
        runner = doctest.DocTestRunner(optionflags=flags)
        said: list[str] = []
        runner.run(test, out=said.append, clear_globs=False)
        self.names.update(test.globs)
        assert not runner.failures, "".join(said) + self.worker_said()

    def type(self, line: str, printed: str) -> None:
        """Do what a line of a terminal says; lines without a prompt are output, compared only for ``cat``."""
        if line == "^C":
            self.stop()
        elif line.startswith("$ kill -9"):
            assert self.worker is not None
            self.worker.kill()
            self.worker.wait(DEADLINE)
        elif line.startswith("$ taskbus worker"):
            self.start(shlex.split(line)[2:])
        elif line.startswith("$ taskbus"):
            done = taskbus(shlex.split(line)[2:], self.folder)
            assert done.returncode in (0, 69, 75), f"{line}\n{done.stdout}{done.stderr}"
        elif line.startswith("$ touch"):
            (self.folder / line.split()[-1]).touch()
        elif line.startswith("$ cat"):
            file = self.folder / line.split()[-1]
            self.wait_until(lambda: file.exists() and file.read_text() == printed)

    def start(self, arguments: list[str]) -> None:
        """Start a worker and wait until it says that it is ready."""
        if self.worker is not None and self.worker.poll() is None:
            self.stop()
        with (self.folder / self.log).open("w") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "taskbus", *arguments], cwd=self.folder, stdout=log, stderr=log, text=True
            )
        self.wait_until(lambda: "Ready in" in self.worker_said())

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not is_so():
            assert self.worker is not None and self.worker.poll() is None, self.worker_said()
            assert time.monotonic() < deadline, self.worker_said()
            time.sleep(0.02)

    def stop(self) -> None:
        if self.worker is not None and self.worker.poll() is None:
            self.worker.terminate()
            assert self.worker.wait(DEADLINE) == 0, self.worker_said()

    def worker_said(self) -> str:
        log = self.folder / self.log
        return log.read_text() if log.exists() else ""


def taskbus(arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command line as a user would."""
    command = [sys.executable, "-m", "taskbus", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=60, env=os.environ | {"COLUMNS": "120"}
    )


def forget_modules_of(folder: Path) -> None:
    """A new Python prompt: modules of this folder are imported anew, and in place of others that are called so."""
    for name, module in list(sys.modules.items()):
        is_from_here = str(getattr(module, "__file__", "") or "").startswith(str(folder))
        if is_from_here or (folder / f"{name}.py").is_file():
            del sys.modules[name]
