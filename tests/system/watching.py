"""What a test sees of a process from outside: its pages over HTTP, and what ``taskbus health`` says."""

import json
import re
import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parse
from worker_process import Worker, wait_until

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def url_of(worker: Worker) -> str:
    """Where a worker with ``--http`` serves, once it does."""

    def found() -> re.Match[str] | None:
        return re.search(r"(http://\S+)/metrics", worker.log.read_text())

    wait_until(found, 60, "its address in the log")
    match = found()
    assert match is not None
    return match[1]


def get(url: str, timeout: float = 10.0) -> tuple[int, str]:
    """Status and body; also of what is no success."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def probe(url: str, name: str) -> tuple[int, dict[str, Any]]:
    status, body = get(f"{url}/healthz/{name}")
    said: dict[str, Any] = json.loads(body)
    return status, said


def is_ok(url: str, name: str) -> bool:
    return probe(url, name)[0] == 200


def series(url: str) -> Series:
    """The samples of ``/metrics``, by name and labels."""
    status, body = get(f"{url}/metrics")
    assert status == 200, body
    found = {}
    for family in parse(body):
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found, f"{key} is told twice"
            found[key] = sample.value
    return found


def summed(found: Series, metric: str, /, **labels: str) -> float:
    """All samples of a name with these labels added up."""
    return sum(
        value for (name, said), value in found.items() if name == metric and labels.items() <= dict(said).items()
    )
