"""The application with an import that takes its time."""

import time

from .app import app

__all__ = ["app"]

time.sleep(5.0)
