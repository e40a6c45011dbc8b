"""What people are shown of a user's values: readable, short, and without secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from taskbus.app import TaskBus
from taskbus.errors import DecodeError
from taskbus.message import Message
from taskbus.monitor.redaction import Redactor
from taskbus.monitor.wording import MAX_BYTES, shortened
from taskbus.steering.detail import Attempt, Detail, again
from taskbus.steering.letters import call_of


class Showing:
    """How an application's values are shown: its setting ``redact`` names secrets beyond those that are known."""

    def __init__(self, app: TaskBus) -> None:
        self._app = app
        self._redactor = Redactor(app.config.redact)

    def call(self, message: Message) -> tuple[str, str]:
        """Positional and keyword arguments of a message."""
        if len(message.body) > MAX_BYTES:
            return f"<{len(message.body)} bytes>", ""
        try:
            args, kwargs = call_of(message)
        except DecodeError:
            return f"<{len(message.body)} bytes that cannot be read>", ""
        shown, named, _ = self._redactor.call(args, kwargs, self._parameters(message.task))
        return shortened(shown), shortened(named)

    def text(self, text: str) -> str:
        """A text that may hold secrets: an error's message, a traceback."""
        return self._redactor.ends(text)

    def value(self, value: Any) -> Any:
        """A value without the secrets in it."""
        return self._redactor.value(value)

    def detail(self, detail: Detail, message: Message | None) -> Detail:
        """The same without secrets; a call that holds one is offered to be copied without it."""
        python, cli = again(message, self._cleared) if message is not None else ("", "")
        return replace(
            detail,
            row=replace(detail.row, message=self.text(detail.row.message)),
            attempts=[self.attempt(each) for each in detail.attempts],
            result=None if detail.result is None else self.text(detail.result),
            traceback=self.text(detail.traceback),
            logs=[self.text(line) for line in detail.logs],
            python=python,
            cli=cli,
        )

    def attempt(self, attempt: Attempt) -> Attempt:
        """The same without secrets."""
        return replace(
            attempt,
            message=self.text(attempt.message),
            traceback=self.text(attempt.traceback),
            logs=[self.text(line) for line in attempt.logs],
        )

    def _cleared(
        self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        named = self._redactor.value(dict(zip(self._parameters(task), args, strict=False)))
        shown = [*named.values(), *self._redactor.value(list(args[len(named) :]))]
        return shown, self._redactor.value(dict(kwargs))

    def _parameters(self, task: str) -> Sequence[str]:
        """Names of the positional parameters of a task, as far as the application knows it."""
        known = self._app.tasks.get(task)
        return list(known.arguments.signature.parameters) if known is not None else ()
