"""Metrics and probes over HTTP: which pages there are, and what they say."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from importlib import import_module

from taskbus.config import Config
from taskbus.errors import ConfigError
from taskbus.monitor.figures import Figures
from taskbus.monitor.http import Answer, HttpServer, Page, Request, as_json
from taskbus.monitor.probes import PROBES, WITHIN, Probe, Vitals

logger = logging.getLogger(__name__)

ADVICE = 'metrics need prometheus-client: pip install "taskbus[metrics]"'
Exposition = Callable[[str], tuple[str, bytes]]
"""From an ``Accept`` header to content type and text."""


@contextmanager
def served(config: Config, vitals: Callable[[], Vitals], figures: Callable[[], Figures]) -> Iterator[str]:
    """Serve both at the address ``config.http`` while the block is; gives the URL. Raises as ``exposed``."""
    server = HttpServer(config.http, {**probe_pages(vitals), "/metrics": metrics_page(config, figures)})
    try:
        server.start()
        logger.info("metrics and probes: %s/metrics, %s/healthz/ready", server.url, server.url)
        yield server.url
    finally:
        server.close()


def exposition(config: Config, figures: Callable[[], Figures]) -> Exposition:
    """Prometheus's page of ``figures``. Raises ``ConfigError``, with the line for pip, without prometheus-client."""
    try:
        metrics = import_module("taskbus.monitor.metrics").Metrics
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        raise ConfigError(ADVICE) from error
    made: Exposition = metrics(figures, limit=config.metrics_tasks, by_host=config.metrics_hostname).page
    return made


def metrics_page(config: Config, figures: Callable[[], Figures]) -> Page:
    """``/metrics``; where prometheus-client is not installed it says so, and so does the log."""
    try:
        expose = exposition(config, figures)
    except ConfigError as error:
        logger.warning("/metrics says nothing: %s; probes work without it", error)
        missing = as_json(HTTPStatus.NOT_IMPLEMENTED, {"error": "no metrics", "advice": str(error)})
        return lambda _: missing

    def page(request: Request) -> Answer:
        content_type, body = expose(request.accept)
        return Answer(HTTPStatus.OK, content_type, body)

    return page


def probe_pages(vitals: Callable[[], Vitals]) -> Mapping[str, Page]:
    """``/healthz/live``, ``ready`` and ``startup``: status 200 or 503, reasons in JSON; ``?within=`` seconds."""
    return {f"/healthz/{name}": partial(_probed, probe, vitals) for name, probe in PROBES.items()}


def _probed(probe: Probe, vitals: Callable[[], Vitals], request: Request) -> Answer:
    try:
        within = float(request.arguments.get("within", WITHIN))
    except ValueError:
        said = {"error": f"within={request.arguments['within'][:20]!r} is no number", "advice": "give seconds"}
        return as_json(HTTPStatus.BAD_REQUEST, said)
    verdict = probe(vitals(), time.monotonic(), within)
    return as_json(HTTPStatus.OK if verdict.is_ok else HTTPStatus.SERVICE_UNAVAILABLE, verdict.as_json())
