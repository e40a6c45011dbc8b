"""Reads the files of named SQL statements that lie beside their users."""

from collections.abc import Mapping
from importlib.resources import files


def load(name: str, package: str) -> Mapping[str, str]:
    """The statements of a file in ``package``, by the name each has in its ``-- name:`` line; comments left out."""
    statements: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in files(package).joinpath(name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-- name:"):
            lines = statements[line.removeprefix("-- name:").strip()] = []
        elif not line.startswith("--"):
            lines.append(line)
    return {title: "\n".join(text).strip() for title, text in statements.items()}
