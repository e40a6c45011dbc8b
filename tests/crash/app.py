"""The application that the workers of the crash suite serve; where it lives is said by the environment."""

import os

from taskbus import TaskBus

from . import chaos
from .environment import BROKER, LEDGER, RESULTS
from .ledger import Ledger

chaos.arm(Ledger(os.environ[LEDGER]))
app = TaskBus("crash", broker=os.environ[BROKER], results=os.environ.get(RESULTS) or None)
app.include(f"{__package__}.tasks")
