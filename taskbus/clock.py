"""Time is passed in: everything that reads the wall clock takes a ``Clock``, so that tests can move it."""

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Returns the current instant: Unix seconds UTC."""

wall_clock: Clock = time.time
