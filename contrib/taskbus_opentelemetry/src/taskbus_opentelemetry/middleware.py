"""The middleware: a span around each send and each attempt, and the trace handed from one to the other."""

import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from opentelemetry import context as otel
from opentelemetry import metrics, propagate, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from taskbus import Context, Middleware, Reject
from taskbus.errors import Replaced, RetryRequested
from taskbus.logs import bound
from taskbus.message import Message
from taskbus.monitor.concealing import shown_call
from taskbus.monitor.redaction import Redactor
from taskbus_opentelemetry import naming
from taskbus_opentelemetry.naming import Style

PROPAGATION = ("auto", "parent", "link")
LONGEST_CHILD = 60.0
"""Seconds between a send and its attempt, up to which the attempt is part of the sender's trace (``auto``)."""
SENT_AT = "traceparent-sent-at"
"""Header with the time of the send that the trace context is of. A replayed message is sent at another time."""
_SCOPE = "taskbus"
_REDACTOR = Redactor()

Conceal = Callable[[str], str]


class OpenTelemetry(Middleware):
    """Spans, trace context and metrics of every send and attempt. Give it to the application as its first middleware.

    Args:
        setup: called in each runner before its first task, to install tracer and meter providers there. Those that
            were made before the fork do not live in it: their exporting threads stayed behind. What was not exported
            when the runner leaves is flushed.
        propagation: how an attempt belongs to the send. ``"auto"``: as its child, if it is the first attempt of a task
            that ran within a minute; a retry, a replayed dead letter, what was delayed for longer and what a workflow
            made ready later start a trace of their own that *links* to the send. ``"parent"``, ``"link"``: always so.
        style: how spans are named.
        system: ``messaging.system`` of all spans; "" leaves it to be told from nothing, as ``taskbus``.

    A task that fails has a span with the error recorded; one that asks to be retried, or rejects itself, has its
    reason as an event. No argument and no result is told but for what an error quotes, and of that no secret.

    Raises ``ValueError`` for another propagation or style.
    """

    def __init__(
        self,
        setup: Callable[[], object] | None = None,
        *,
        propagation: str = "auto",
        style: Style | str = Style.SEMCONV,
        system: str = "taskbus",
    ) -> None:
        if propagation not in PROPAGATION:
            raise ValueError(f"propagation {propagation!r} is not one of {', '.join(PROPAGATION)}")
        self._setup = setup
        self._propagation = propagation
        self._style = Style(style)
        self._system = system
        self._client = ""
        self._pid = 0

    # --- sends -------------------------------------------------------------------------------------------------------

    @contextmanager
    def sending(self, message: Message) -> Iterator[Message]:
        """A ``send`` span around the send; the message carries its context."""
        self._prepare()
        begun = time.perf_counter()
        error = ""
        with self._tracer.start_as_current_span(
            naming.name_of_send(self._style, message),
            kind=SpanKind.PRODUCER,
            attributes=naming.of_send(self._style, self._system, message),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            if carrier:
                carrier[SENT_AT] = repr(message.sent_at)
            try:
                yield message._replace(headers={**message.headers, **carrier}) if carrier else message
            except BaseException as raised:
                error = _failed(span, raised, partial(_concealed, message))
                raise
            finally:
                said = naming.of_metrics(self._system, "send", message.task, message.queue)
                said |= {"error.type": error} if error else {}
                self._sent.add(1, said)
                self._operations.record(time.perf_counter() - begun, said)

    # --- attempts ----------------------------------------------------------------------------------------------------

    @contextmanager
    def running(self, context: Context) -> Iterator[None]:
        """A ``process`` span around the attempt, and its trace on each line that is logged in it."""
        self._prepare()
        begun = time.perf_counter()
        parent, links = self._origin(context)
        token = otel.attach(parent)
        said = naming.of_metrics(self._system, "process", context.task, context.queue)
        try:
            with self._tracer.start_as_current_span(
                naming.name_of_attempt(self._style, context),
                kind=SpanKind.CONSUMER,
                attributes=naming.of_attempt(self._style, self._system, self._client, context),
                links=links,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:
                try:
                    with _logged(span):
                        yield
                except BaseException as error:
                    said["error.type"] = _judged(span, error, context.conceal)
                    raise
        finally:
            otel.detach(token)
            self._consumed.add(1, said)
            self._durations.record(time.perf_counter() - begun, said)

    def _origin(self, context: Context) -> tuple[otel.Context, Sequence[Link]]:
        """In which context the attempt's span begins, and what it links to."""
        sender = propagate.extract(context.headers, otel.Context())
        span_context = trace.get_current_span(sender).get_span_context()
        if not span_context.is_valid or self._is_child(context):
            return sender, ()
        return trace.set_span_in_context(trace.INVALID_SPAN, sender), (Link(span_context),)

    def _is_child(self, context: Context) -> bool:
        if self._propagation != "auto":
            return self._propagation == "parent"
        if context.attempt > 1 or context.schedule:
            return False
        sent_at = context.headers.get(SENT_AT)
        if sent_at is not None and sent_at != repr(context.sent_at):
            return False  # it died, and somebody has sent it again
        return time.time() - context.sent_at <= LONGEST_CHILD

    # --- processes ---------------------------------------------------------------------------------------------------

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Around a runner's life: set up what exports, and let it finish."""
        if self._setup is not None:
            self._setup()
        try:
            yield
        finally:
            for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
                flush: Callable[..., Any] | None = getattr(provider, "force_flush", None)
                if flush is not None:
                    flush(timeout_millis=2_000)

    def _prepare(self) -> None:
        """Tracer and instruments of this process: those of before a fork may belong to providers that stayed behind."""
        if self._pid == os.getpid():
            return
        meter = metrics.get_meter(_SCOPE)
        self._tracer = trace.get_tracer(_SCOPE)
        self._sent = meter.create_counter("messaging.client.sent.messages", "{message}", "Tasks sent")
        self._consumed = meter.create_counter("messaging.client.consumed.messages", "{message}", "Attempts made")
        self._operations = meter.create_histogram(
            "messaging.client.operation.duration", "s", "Sends", explicit_bucket_boundaries_advisory=naming.BUCKETS
        )
        self._durations = meter.create_histogram(
            "messaging.process.duration", "s", "Attempts", explicit_bucket_boundaries_advisory=naming.BUCKETS
        )
        self._client = f"{socket.gethostname()}:{os.getpid()}"
        self._pid = os.getpid()


def _logged(span: Span) -> AbstractContextManager[None]:
    """Its trace id and span id on each line of the log."""
    context = span.get_span_context()
    if not context.is_valid:
        return nullcontext()
    return bound(trace_id=trace.format_trace_id(context.trace_id), span_id=trace.format_span_id(context.span_id))


def _judged(span: Span, error: BaseException, conceal: Conceal) -> str:
    """Note on the span how an attempt ended that did not return; the error's name.

    To ask for another attempt, or for another task in one's place, is no fault.
    """
    if isinstance(error, Replaced):
        span.add_event("replaced")
        return _named(error)
    if not isinstance(error, RetryRequested | Reject):
        return _failed(span, error, conceal)
    reason = _cleared(str(error), conceal)
    span.add_event("retry" if isinstance(error, RetryRequested) else "reject", {"message": reason})
    return _marked(span, error, reason)


def _failed(span: Span, error: BaseException, conceal: Conceal) -> str:
    """Record the error; its name. By ``record_exception`` its message and traceback would be told with all secrets."""
    message = _cleared(str(error), conceal)
    trace_text = "".join(traceback.format_exception(error))
    span.add_event(
        "exception",
        {
            "exception.type": _named(error),
            "exception.message": message,
            "exception.stacktrace": _cleared(trace_text, conceal),
        },
    )
    return _marked(span, error, message)


def _marked(span: Span, error: BaseException, message: str) -> str:
    name = _named(error)
    span.set_attribute("error.type", name)
    span.set_status(Status(StatusCode.ERROR, message))
    return name


def _cleared(text: str, conceal: Conceal) -> str:
    """The text without the secrets of this call, and without what looks like one."""
    return _REDACTOR.ends(conceal(text))


def _concealed(message: Message, text: str) -> str:
    """The text without the secrets of a call that is sent: by their names there, for its task is not known here."""
    return _REDACTOR.ends(text, shown_call(_REDACTOR, message, (), has_inputs=False).secrets)


def _named(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
