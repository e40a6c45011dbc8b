"""The file of ``--config``, made to count in this process and in every one that it starts. Loads nothing heavy."""

import dataclasses
import os

from taskbus.cli.options import Scope
from taskbus.config import load


def apply_config_file(scope: Scope) -> None:
    """Turn the file of ``--config`` into variables. Raises ``ConfigError`` for what does not fit in it."""
    if scope.config is None:
        return
    config, origins = load({}, environment={}, file=scope.config)
    for field in dataclasses.fields(config):
        if origins[field.name] != "default":
            os.environ.setdefault(f"TASKBUS_{field.name.upper()}", _as_variable(getattr(config, field.name)))


def _as_variable(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)
