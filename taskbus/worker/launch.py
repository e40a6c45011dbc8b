"""How the runners' server is started: a module that loads nothing heavy, so that this can be done before all else.

The server imports the app, and all that it needs, while the supervisor still imports itself.
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass

from taskbus.config import OVERRIDES
from taskbus.worker.options import WorkerOptions


@dataclass(slots=True)
class Launched:
    """The process, and this side of the socket to it."""

    process: subprocess.Popen[bytes]
    link: socket.socket

    def abandon(self) -> None:
        """End it at once; it has run nothing but an import."""
        self.process.kill()
        self.process.wait()
        self.link.close()


def launch(options: WorkerOptions) -> Launched:
    """Start the server; it says by its socket when it has imported the app."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "taskbus.worker.runner.server", "--app", options.app]
    command += ["--fd", str(theirs.fileno()), "--parent", str(os.getpid())]
    command += ["--log-level", options.log_level, "--log-format", options.log_format]
    environment = {**os.environ, OVERRIDES: json.dumps(options.settings())}
    # A session of its own: Ctrl-C in the terminal is for the supervisor alone, else it would end the programs that
    # tasks run; and one that asks for a password there is refused, where it would be stopped and never go on.
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, start_new_session=True)
    theirs.close()
    return Launched(process, ours)
