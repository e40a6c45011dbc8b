"""Why a request is not answered: a status, what happened, and what to do. Raised anywhere while one is served."""

from collections.abc import Mapping
from http import HTTPStatus


class Refusal(Exception):
    """Ends a request with ``status`` and ``{"error": text, "advice": advice}``."""

    def __init__(
        self, status: HTTPStatus | int, text: str, advice: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = HTTPStatus(status)
        self.text = text
        self.advice = advice
        self.headers = dict(headers or {})


def missing(text: str, advice: str = "") -> Refusal:
    """What was asked for is not there."""
    return Refusal(HTTPStatus.NOT_FOUND, text, advice)


def unfit(text: str, advice: str = "") -> Refusal:
    """What was asked for cannot be read, or makes no sense."""
    return Refusal(HTTPStatus.BAD_REQUEST, text, advice)


def conflict(text: str, advice: str = "") -> Refusal:
    """It cannot be done as things stand now."""
    return Refusal(HTTPStatus.CONFLICT, text, advice)
