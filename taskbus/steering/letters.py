"""Dead letters of an application: the way to them, and what a replay with other arguments makes of a message."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskbus import codec
from taskbus.app import TaskBus
from taskbus.broker.broker import checked
from taskbus.broker.delivery import Settlement
from taskbus.codec import celery as body_codec
from taskbus.errors import BadArguments, DecodeError
from taskbus.message import CHUNK, FLOW, TAKES, Message
from taskbus.store.base import AnyChange
from taskbus.store.dead_letters import DeadLetters
from taskbus.wire import celery


def dead_letters_of(app: TaskBus) -> DeadLetters:
    """The dead letters of an application. A replay is one transaction where broker and store share a database."""

    def transact(message: Message, changes: Sequence[AnyChange]) -> bool:
        settlement = Settlement(None, follow_ups=[message], changes=changes)
        return app.broker.transact(settlement, app.record, shared=app.shares_database)

    apart = not app.shares_database
    return DeadLetters(app.store, transact, app.clock, app.config.max_message_bytes, apart=apart)


@dataclass(frozen=True, slots=True)
class Edit:
    """Other arguments for a call that was made before; None leaves those that it had."""

    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] | None = None

    @property
    def is_any(self) -> bool:
        """Whether something is to be changed."""
        return self.args is not None or self.kwargs is not None


def edited(app: TaskBus, edit: Edit) -> Callable[[Message], Message] | None:
    """What puts the edit into a message, in the message's own encoding; None where nothing is to be changed.

    The call must fit the signature of its task where the application knows that, and the largest message there may be.
    It raises ``BadArguments``, ``EncodeError``, ``DecodeError`` or ``PayloadTooLarge``.
    """

    def put(message: Message) -> Message:
        args, kwargs = call_of(message)
        args = list(args if edit.args is None else edit.args)
        kwargs = dict(kwargs if edit.kwargs is None else edit.kwargs)
        check(app, message, args, kwargs)
        if message.celery is not None:
            changed = celery.with_call(message, args, kwargs)
        else:
            changed = message._replace(body=codec.encode_call(args, kwargs, message.content_type))
        checked(changed, app.config.max_message_bytes)
        return changed

    return put if edit.is_any else None


def check(app: TaskBus, message: Message, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Raise ``BadArguments`` unless the task of that message takes these, by its signature and its type hints.

    What only workers know is not checked, nor a call that is given the value of the one before it in its workflow.
    """
    if CHUNK in message.headers:
        raise BadArguments(f"{message.task}: a chunk of many calls cannot be edited as one; send them anew")
    task = app.tasks.get(message.task)
    if task is not None and not (FLOW in message.headers and TAKES in message.headers):
        task.arguments.fitted(list(args), dict(kwargs))


def call_of(message: Message) -> tuple[list[Any], dict[str, Any]]:
    """The arguments in a message, whatever its format. Raises ``DecodeError``."""
    if message.celery is not None:
        args, kwargs, _ = body_codec.call(body_codec.decode(message.body, message.content_type))
        return args, kwargs
    match codec.decode(message.body, message.content_type):
        case [[*args], dict(kwargs)]:
            return args, kwargs
    raise DecodeError(f"{message.task}: the body is not a pair of positional and keyword arguments")
