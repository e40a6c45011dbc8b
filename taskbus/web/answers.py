"""Answers as JSON, whatever is in them; and what our errors mean to whoever asked."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from taskbus.beat.book import NoSchedule
from taskbus.errors import (
    BadArguments,
    BrokerError,
    CodecError,
    ConfigError,
    PayloadTooLarge,
    PublishUnknown,
    SendError,
    StoreError,
    TaskBusError,
)
from taskbus.steering import refusal as steering
from taskbus.steering.refusal import NobodyAnswered, NotThere
from taskbus.web.refusal import Refusal
from taskbus.web.shapes.basis import Failed

_REFUSED = ((NotThere, HTTPStatus.NOT_FOUND), (NobodyAnswered, HTTPStatus.GATEWAY_TIMEOUT))
_STATUS: tuple[tuple[type[TaskBusError], HTTPStatus, str], ...] = (
    (NoSchedule, HTTPStatus.NOT_FOUND, ""),
    (BadArguments, HTTPStatus.BAD_REQUEST, ""),
    (PayloadTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ""),
    (PublishUnknown, HTTPStatus.GATEWAY_TIMEOUT, "see whether it is queued before sending it again"),
    (SendError, HTTPStatus.SERVICE_UNAVAILABLE, "is the broker running? see taskbus doctor"),
    (CodecError, HTTPStatus.BAD_REQUEST, ""),
    (ConfigError, HTTPStatus.BAD_REQUEST, ""),
    (BrokerError, HTTPStatus.SERVICE_UNAVAILABLE, "is the broker running? see taskbus doctor"),
    (StoreError, HTTPStatus.SERVICE_UNAVAILABLE, "is the result store running? see taskbus doctor"),
)
"""The first that fits counts."""


def encoded(value: Any) -> bytes:
    """``value`` as JSON; text that is no Unicode (a lone surrogate) as escapes, where msgspec refuses it."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value, str_keys=True)).encode("ascii")


def answer(value: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that nobody keeps."""
    return Response(encoded(value), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def refused(refusal: Refusal) -> Response:
    """The answer that a refusal is."""
    return answer(Failed(error=refusal.text, advice=refusal.advice), refusal.status, refusal.headers)


def as_refusal(error: TaskBusError) -> Refusal:
    """What one of our own errors means to whoever asked."""
    if isinstance(error, steering.Refusal):
        status = next((status for kind, status in _REFUSED if isinstance(error, kind)), HTTPStatus.CONFLICT)
        return Refusal(status, error.text, error.advice)
    for kind, status, advice in _STATUS:
        if isinstance(error, kind):
            return Refusal(status, str(error), advice)
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
