"""Broken workers: each mutant switches one mechanism off, so that the suite can show it would notice."""

from collections.abc import Callable

MUTANTS: dict[str, Callable[[], None]] = {}


def apply(name: str) -> None:
    """Break this process as ``name`` says; nothing for an empty name."""
    if name:
        MUTANTS[name]()
