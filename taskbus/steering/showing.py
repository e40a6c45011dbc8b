"""What people are shown of a user's values: readable, short, and without secrets."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from taskbus.app import TaskBus
from taskbus.errors import DecodeError
from taskbus.message import Message
from taskbus.monitor.redaction import Redactor
from taskbus.monitor.wording import MAX_BYTES, shortened
from taskbus.outcome import Failure
from taskbus.steering.detail import Attempt, Detail, again
from taskbus.steering.letters import call_of
from taskbus.steering.tracing import message_of
from taskbus.store.base import DeadLetter, Filter, Group


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

    def secrets(self, letters: Iterable[DeadLetter | Message | None]) -> Sequence[str]:
        """The secrets among the arguments of these, which the errors of their tasks may quote."""
        found: set[str] = set()
        for each in letters:
            message = message_of(each) if isinstance(each, DeadLetter) else each
            if message is None or len(message.body) > MAX_BYTES:
                continue
            with suppress(DecodeError):
                found.update(self._redactor.call(*call_of(message), self._parameters(message.task))[2])
        return sorted(found, key=len, reverse=True)

    def text(self, text: str, secrets: Iterable[str] = ()) -> str:
        """A text that may hold secrets, an error's message or a traceback; ``secrets``: what is known to be some."""
        return self._redactor.ends(text, secrets)

    def error(self, letter: DeadLetter) -> str:
        """What the error of a dead letter says."""
        return self.text(letter.failure.message, self.secrets([letter]))

    def groups(self, groups: Sequence[Group]) -> list[Group]:
        """The same; of their latest errors what is shown of the letters that stand for them."""
        ids = tuple(group.example for group in groups)
        letters = self._app.store.dead_letters(Filter(task_ids=ids), limit=len(ids)) if ids else ()
        examples = {letter.task_id: letter for letter in letters}
        return [
            replace(group, message=self.text(group.message, self.secrets([examples.get(group.example)])))
            for group in groups
        ]

    def failure(self, failure: Failure, secrets: Iterable[str] = ()) -> Failure:
        """The same without secrets; ``secrets``: what is known to be some."""
        message, traceback = self.text(failure.message, secrets), self.text(failure.traceback, secrets)
        return replace(failure, message=message, traceback=traceback)

    def value(self, value: Any) -> Any:
        """A value without the secrets in it."""
        return self._redactor.cleared(value)

    def values(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Arguments of a call of that task as values: no secret by its name, nor one by its look within a text."""
        named = self.value(dict(zip(self._parameters(task), args, strict=False)))
        return [*named.values(), *self.value(list(args[len(named) :]))], self.value(dict(kwargs))

    def detail(self, detail: Detail, message: Message | None) -> Detail:
        """The same without secrets; a call that holds one is offered to be copied without it."""
        python, cli = again(message, self.values) if message is not None else ("", "")
        secrets = self.secrets([message])
        return replace(
            detail,
            row=replace(detail.row, message=self.text(detail.row.message, secrets)),
            attempts=[self.attempt(each, secrets) for each in detail.attempts],
            result=None if detail.result is None else self.text(detail.result, secrets),
            traceback=self.text(detail.traceback, secrets),
            logs=[self.text(line, secrets) for line in detail.logs],
            python=python,
            cli=cli,
        )

    def attempt(self, attempt: Attempt, secrets: Iterable[str]) -> Attempt:
        """The same without secrets."""
        return replace(
            attempt,
            message=self.text(attempt.message, secrets),
            traceback=self.text(attempt.traceback, secrets),
            logs=[self.text(line, secrets) for line in attempt.logs],
        )

    def _parameters(self, task: str) -> Sequence[str]:
        """Names of the positional parameters of a task, as far as the application knows it."""
        known = self._app.tasks.get(task)
        return list(known.arguments.signature.parameters) if known is not None else ()
