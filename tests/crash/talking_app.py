"""The application with an import that prints, as many do; its output may have nowhere to go."""

from .app import app

__all__ = ["app"]

print("x" * 100_000)
print("and a little more that stays in the buffer")
