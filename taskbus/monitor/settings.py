"""Settings as they may be shown: on the command line, on a page. No secret is in them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from taskbus.config import SECRETS, Config
from taskbus.database.urls import redacted

HIDDEN = "***"


def shown(config: Config, urls: Mapping[str, str]) -> dict[str, Any]:
    """Every setting by name, those in ``urls`` as they are there; passwords in URLs are hidden, secrets altogether."""
    settings = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)} | dict(urls)
    return {name: _hidden(value) if name in SECRETS else _safe(value) for name, value in settings.items()}


def _hidden(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(HIDDEN for _ in value)
    return HIDDEN if value else value


def _safe(value: Any) -> Any:
    return redacted(value) if isinstance(value, str) and "://" in value else value
