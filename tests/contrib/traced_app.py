"""An application whose spans are kept as lines of a file, whatever process ends them."""

import json
import logging
import os

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from taskbus_opentelemetry import OpenTelemetry

from taskbus import Context, RetryPolicy, TaskBus


class Lines(SpanExporter):
    """Appends each span to the file ``SPANS``: one write, so that processes do not mix theirs."""

    def export(self, spans):
        with open(os.environ["SPANS"], "a") as file:
            file.write("".join(f"{json.dumps(told(span))}\n" for span in spans))
        return SpanExportResult.SUCCESS


def told(span: ReadableSpan) -> dict:
    return {
        "name": span.name,
        "kind": span.kind.name,
        "trace": trace.format_trace_id(span.context.trace_id),
        "id": trace.format_span_id(span.context.span_id),
        "parent": span.parent and trace.format_span_id(span.parent.span_id),
        "links": [trace.format_span_id(link.context.span_id) for link in span.links],
        "status": span.status.status_code.name,
        "attributes": dict(span.attributes),
        "events": [event.name for event in span.events],
        "said": "\n".join([str(span.status.description), *(str(dict(event.attributes)) for event in span.events)]),
        "pid": os.getpid(),
    }


def set_up() -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Lines(), schedule_delay_millis=100))
    trace.set_tracer_provider(provider)


app = TaskBus("traced", redact=["plate"], middleware=[OpenTelemetry(set_up, style=os.environ.get("STYLE", "semconv"))])


@app.task
def child(number: int) -> int:
    logging.getLogger("traced").info("child %d", number)
    return number


@app.task
def parent(number: int) -> int:
    logging.getLogger("traced").info("parent %d", number)
    child.delay(number)
    return number


@app.task
async def aparent(number: int) -> int:
    logging.getLogger("traced").info("aparent %d", number)
    await child.adelay(number)
    return number


@app.task
def flaky(ctx: Context) -> str:
    if ctx.attempt < 2:
        ctx.retry("not yet", delay=0.01)
    return "well"


@app.task(retry=RetryPolicy.never())
def broken(gate: str) -> str:
    if not os.path.exists(gate):
        raise LookupError("no gate")
    return "well"


@app.task(retry=RetryPolicy.never())
def refused(password: str, plate: str) -> None:
    raise LookupError(f"refused {password} of {plate}")


@app.task(retry=RetryPolicy.never())
async def arefused(password: str, plate: str) -> None:
    raise LookupError(f"refused {password} of {plate}")
