"""The application with an import that prints, as many do; its output may have nowhere to go."""

from .app import app

__all__ = ["app"]

print("a line that stays in the buffer, which cannot be written")
