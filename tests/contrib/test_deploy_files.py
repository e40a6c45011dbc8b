"""The files for deployment say what the programs understand."""

import re
from pathlib import Path
from typing import Any

import yaml

from taskbus.cli.main import COMMANDS
from taskbus.config import Config
from taskbus.monitor.probes import PROBES, WITHIN
from tests.shape.pages import ROOT
from tests.unit.test_metrics import full, page, samples

DEPLOY = ROOT / "contrib/deploy"


def documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / file).read_text()))


def test_the_probes_of_the_deployments_are_pages_and_their_patience_is_longer_than_ours() -> None:
    for deployment in documents("kubernetes/worker.yaml"):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        program, command, *options = container["args"]
        assert (program, command in COMMANDS) == ("taskbus", True)
        address = options[options.index("--http") + 1]
        (port,) = container["ports"]
        assert address == f"0.0.0.0:{port['containerPort']}"
        probes = [container[name] for name in container if name.endswith("Probe")]
        assert len(probes) >= 2
        for probe in probes:
            assert probe["httpGet"]["path"].removeprefix("/healthz/") in PROBES
            assert probe["httpGet"]["port"] == port["name"]
        if command == "worker":
            assert pod["terminationGracePeriodSeconds"] > Config().grace
            live = container["livenessProbe"]
            assert live["periodSeconds"] * live["failureThreshold"] >= WITHIN


def test_what_keda_asks_for_is_in_the_metrics() -> None:
    known = {name for name, _ in samples(page(full()))}
    (scaled,) = documents("kubernetes/keda.yaml")
    queries = [trigger["metadata"]["query"] for trigger in scaled["spec"]["triggers"]]
    asked = {name for query in queries for name in re.findall(r"\b(?:celery|taskbus)_\w+", query)}
    assert len(asked) == 3 and asked <= known
    assert scaled["spec"]["scaleTargetRef"]["name"] == documents("kubernetes/worker.yaml")[0]["metadata"]["name"]


def test_prometheus_loads_the_alerts_by_the_name_that_its_file_says() -> None:
    (config,) = documents("prometheus/prometheus.yml")
    (rules,) = config["rule_files"]
    assert f"taskbus metrics alerts > {rules}" in Path(DEPLOY / "README.md").read_text()
