"""Ids of tasks."""

from uuid import uuid4


def uuid() -> str:
    """A new id, as text."""
    return str(uuid4())


gen_unique_id = uuid
