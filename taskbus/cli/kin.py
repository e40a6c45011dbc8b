"""A ``taskbus`` command as the child of another one: it dies with its parent, and says to it when it is ready.

    python -m taskbus.cli.kin PARENT FD ARGUMENT...

``PARENT`` is the parent's process id, ``FD`` a pipe to it, -1 for none.
"""

import os
import sys

from taskbus.cli import readiness
from taskbus.cli.entry import main
from taskbus.worker.runner.kinship import die_with


def command(arguments: list[str], ready: int = -1) -> list[str]:
    """The command line of such a child of this process, started by a thread that lasts as long as it.

    ``ready`` must be handed over to it.
    """
    return [sys.executable, "-m", "taskbus.cli.kin", str(os.getpid()), str(ready), *arguments]


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    readiness.tell_by(int(sys.argv[2]))
    sys.argv[:] = ["taskbus", *sys.argv[3:]]
    main()
