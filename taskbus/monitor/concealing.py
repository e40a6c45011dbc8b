"""A call as people are shown it: its arguments without secrets, and the secrets, which its errors may quote."""

from collections.abc import Sequence
from typing import NamedTuple

from taskbus.message import CHUNK, Message
from taskbus.monitor.redaction import Redactor
from taskbus.monitor.wording import call_of, shortened


class ShownCall(NamedTuple):
    """Arguments as texts that can be shown, and the ``secrets`` among them, the longest first."""

    args: str
    kwargs: str
    secrets: Sequence[str]


def shown_call(redactor: Redactor, message: Message, parameters: Sequence[str], *, has_inputs: bool) -> ShownCall:
    """The call that ``message`` asks for. ``parameters``: names of the positional ones of its task.

    ``has_inputs``: the first of them is given what the flow hands on, which is not in the message.
    """
    args, kwargs = call_of(message)
    if has_inputs:
        parameters = parameters[1:]
    if CHUNK in message.headers and len(args) == 1 and isinstance(args[0], list):
        named = [dict(zip(parameters, call, strict=False)) for call in args[0][:20] if isinstance(call, list)]
        _, _, secrets = redactor.call((), {"calls": named}, ())
        shown, kwargs_text, more = redactor.call(args, kwargs, ())
        return ShownCall(shortened(redactor.text(shown, secrets)), shortened(kwargs_text), [*secrets, *more])
    shown, kwargs_text, secrets = redactor.call(args, kwargs, parameters)
    return ShownCall(shortened(shown), shortened(kwargs_text), secrets)
