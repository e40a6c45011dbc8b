"""Exit codes of every command, which scripts may rely on, and the error that carries one."""

import rich_click as click

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
NO_REPLY = 69
"""Nobody answered: no worker is alive. Source: sysexits(3), EX_UNAVAILABLE."""
WARNINGS = 75
"""It works, but something needs a look. Source: sysexits(3), EX_TEMPFAIL."""
INTERRUPTED = 130
"""Ended by Ctrl-C: 128 + SIGINT."""


class CommandFailed(click.ClickException):
    """Ends a command: the message goes to stderr, ``exit_code`` to the shell."""

    exit_code: int  # type: ignore[misc]

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
