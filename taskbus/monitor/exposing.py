"""A process as others see it: metrics and probes over HTTP, and its state in a file, as the settings say.

Where neither is asked for nothing is opened, no thread started, and no HTTP server imported.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module

from taskbus.config import Config
from taskbus.monitor.figures import Figures
from taskbus.monitor.health_file import HealthFile, path_of
from taskbus.monitor.probes import Vitals


@contextmanager
def exposed(config: Config, name: str, vitals: Callable[[], Vitals], figures: Callable[[], Figures]) -> Iterator[str]:
    """Let be seen what the settings ``http`` and ``health_file`` say, while the block is; gives the URL, "" if none.

    ``vitals`` and ``figures`` are read in other threads, at any time. Raises ``ConfigError`` for an address or a file
    that cannot be used.
    """
    with ExitStack() as stack:
        if config.health_file:
            stack.enter_context(HealthFile(path_of(config.health_file, name), vitals))
        url = ""
        if config.http:
            url = stack.enter_context(import_module("taskbus.monitor.serving").served(config, vitals, figures))
        yield url
