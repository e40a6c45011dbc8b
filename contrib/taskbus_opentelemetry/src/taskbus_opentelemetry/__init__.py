"""OpenTelemetry for TaskBus: ``TaskBus("shop", middleware=[OpenTelemetry()])``.

A send is a span of its own, whose context travels in the message's headers by W3C's names (``traceparent``,
``tracestate``, ``baggage``); so does an attempt, in whatever kind of slot. See ``OpenTelemetry``.
"""

from taskbus_opentelemetry.middleware import OpenTelemetry
from taskbus_opentelemetry.naming import Style

__all__ = ["OpenTelemetry", "Style"]
