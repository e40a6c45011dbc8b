"""``taskbus bench``: this machine's figures, from a real worker on a real broker."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import rich_click as click
from rich.status import Status

from taskbus.app import TaskBus
from taskbus.cli import bench_measures
from taskbus.cli.bench_bytes import accounts
from taskbus.cli.bench_flows import FlowBench
from taskbus.cli.bench_measures import Measure
from taskbus.cli.config_file import apply_config_file
from taskbus.cli.counting import Counter
from taskbus.cli.exits import USAGE, CommandFailed
from taskbus.cli.machine import describe_machine
from taskbus.cli.options import Scope, scope_of, shared_options
from taskbus.cli.output import emit_one
from taskbus.cli.phrase import count, span
from taskbus.cli.tables import console, draw
from taskbus.cli.worker_process import WorkerProcess
from taskbus.database.urls import redacted
from taskbus.message import new_id
from taskbus.task import Task
from taskbus.worker.options import cpus

APP = "taskbus.cli.bench_app"
LATENCY_CALLS = 1000
WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and how much of it."""

    tasks: int
    mode: str
    members: int
    chains: int

    def includes(self, mode: str) -> bool:
        return self.mode in (mode, "all")


@click.command("bench")
@click.option(
    "--tasks", type=click.IntRange(min=100), default=20_000, show_default=True, metavar="N", help="Sent per figure."
)
@click.option(
    "--mode",
    type=click.Choice(["batch", "single", "latency", "all", "workflow"]),
    default="all",
    show_default=True,
    metavar="MODE",
    help="batch, single, latency or workflow; all: the first three.",
)
@click.option(
    "--members",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Of the chord of --mode workflow.",
)
@click.option(
    "--chains",
    type=click.IntRange(min=1),
    default=1_000,
    show_default=True,
    metavar="N",
    help="Of five tasks, in --mode workflow.",
)
@click.option("--processes", type=click.IntRange(min=0), default=0, metavar="N", help="Runners; 0: one per CPU.")
@shared_options("broker", "results", "config", "output", "quiet", "verbose")
@click.pass_context
def command(ctx: click.Context, tasks: int, mode: str, members: int, chains: int, processes: int) -> None:
    """Measure publishing, draining and latency on --broker; a temporary SQLite file if none is given.

    Tasks are counted by the tasks themselves, in shared memory. The worker is a process of its own, as in production.
    Close other programs first, and compare only figures of one machine on one day.

    A drain is measured from the first task seen done to the last, so that the start of the worker is left out, and with
    it that first task. p50, p95 and p99 are of single calls: only publishing one by one and latency have them.

    Workflows, which are not part of --mode all, are measured from their first send to the end of their last task, with
    what broker and results wrote for each task, by their own account: other clients of the same server count too.
    """
    scope = scope_of(ctx)
    runners = processes or cpus()
    apply_config_file(scope)
    with tempfile.TemporaryDirectory(prefix="taskbus-bench-") as folder:
        app, counter, worker_arguments = _prepare(scope, Path(folder), runners)
        plan = Plan(tasks, mode, members, chains)
        measures = []
        with app, console(err=True).status("starting") as status, _own_queue(app):
            for measure in run(app, counter, plan, worker_arguments):
                measures.append(measure)
                _tell(status, measure)
        machine = describe_machine()
        item = {
            "machine": machine,
            "broker": app.broker.safe_url,
            "results": redacted(app.results_url),
            "processes": runners,
        }
        item |= {"mode": mode}
        if mode == "workflow":
            item["bytes"] = [account.what for account in accounts([app.broker_url, app.results_url])]
        emit_one(scope.output, "bench", {**item, "measures": measures}, lambda: _draw(measures, item))


def run(app: TaskBus, counter: Counter, plan: Plan, worker_arguments: list[str]) -> Iterator[Measure]:
    """Every figure of the plan, as it is measured: first with results off, then with results on."""
    bench_app: Any = import_module(APP)
    if plan.mode == "workflow":
        for results in (False, True):
            yield from _run_flows(app, counter, plan, worker_arguments, results)
        return
    for results, task in ((False, bench_app.noop), (True, bench_app.kept)):
        if plan.mode == "latency" and not results:
            continue
        yield from _run_with(app, task, counter, plan, worker_arguments, results)


def _run_with(
    app: TaskBus, task: Task[..., Any], counter: Counter, plan: Plan, worker_arguments: list[str], results: bool
) -> Iterator[Measure]:
    target = counter.total()
    if plan.includes("single"):
        yield bench_measures.publish_single(task, plan.tasks, results)
        if plan.mode == "all":
            app.broker.purge(task.queue)  # a drain is of as many tasks as every other figure
    if plan.includes("batch"):
        yield bench_measures.publish_batch(app, task, plan.tasks, results)
    if plan.mode != "latency":
        target += plan.tasks
    with WorkerProcess(worker_arguments, {}) as worker:
        if plan.mode != "latency":
            yield bench_measures.drain(worker, counter, target, results)
        for number in range(WARM_UP):
            task.delay(number)
        worker.wait_for(counter, target + WARM_UP)
        for batch in (mode for name, mode in (("batch", True), ("single", False)) if plan.includes(name)):
            yield bench_measures.end_to_end(app, task, worker, counter, plan.tasks, results=results, batch=batch)
        if results and plan.includes("latency"):
            yield bench_measures.latency(task, min(plan.tasks, LATENCY_CALLS))


def _run_flows(
    app: TaskBus, counter: Counter, plan: Plan, worker_arguments: list[str], results: bool
) -> Iterator[Measure]:
    bench_app: Any = import_module(APP)
    step, join = (bench_app.kept, bench_app.kept_joined) if results else (bench_app.passed, bench_app.joined)
    with WorkerProcess(worker_arguments, {}) as worker:
        bench = FlowBench(step, join, worker, counter, accounts([app.broker_url, app.results_url]), results=results)
        bench.warm_up()
        yield bench.chord(plan.members)
        yield bench.chains(plan.chains)


def _prepare(scope: Scope, folder: Path, processes: int) -> tuple[TaskBus, Counter, list[str]]:
    """The app to measure, in this process and, through the environment, in the worker's."""
    counter_path = str(folder / "counter")
    counter = Counter.create(counter_path)
    queue = f"bench-{new_id()}"
    broker = TaskBus("bench", broker=scope.broker or f"sqlite:///{folder}/bench.db", results=scope.results or None)
    os.environ |= {
        "TASKBUS_BROKER": broker.broker_url,
        "TASKBUS_RESULTS": broker.results_url,
        "_TASKBUS_BENCH_COUNTER": counter_path,
        "_TASKBUS_BENCH_QUEUE": queue,
    }
    app: TaskBus = import_module(APP).app
    if not app.broker.features.processes:
        raise CommandFailed(f"{app.broker.safe_url} lives in one process alone; a worker cannot share it", USAGE)
    return app, counter, ["-A", f"{APP}:app", "-Q", queue, "--processes", str(processes)]


@contextmanager
def _own_queue(app: TaskBus) -> Iterator[None]:
    """Leave nothing of the bench's queue on a broker that others may use, however the block ends."""
    try:
        yield
    finally:
        with app.broker.connection() as connection:
            connection.channel().queue_delete(import_module(APP).queue)


def _tell(status: Status, measure: Measure) -> None:
    status.update(f"{measure.name}, results {'on' if measure.results else 'off'}: {measure.tasks_per_second:,.0f}/s")


def _draw(measures: list[Measure], item: dict[str, Any]) -> None:
    has_bytes = any(measure.bytes_per_task is not None for measure in measures)
    last = ("bytes/task",) if has_bytes else () if item["mode"] == "workflow" else ("p50", "p95", "p99")
    draw(
        ("measured", "results", "tasks", "tasks/s", *last),
        [
            (
                measure.name,
                "on" if measure.results else "off",
                f"{measure.tasks:,}",
                f"{measure.tasks_per_second:,.0f}",
                *(_cell(measure, name) for name in last),
            )
            for measure in measures
        ],
        right=("tasks", "tasks/s", *last),
    )
    if has_bytes:
        click.echo(f"\nbytes/task: {' and '.join(item['bytes'])}")
    click.echo(f"\n{item['broker']}, {count(item['processes'], 'runner process', 'runner processes')}")
    click.echo(", ".join(f"{name} {value}" for name, value in item["machine"].items()))


def _cell(measure: Measure, name: str) -> str:
    value = measure.bytes_per_task if name == "bytes/task" else getattr(measure, name)
    if value is None:
        return ""
    return f"{value:,.0f}" if name == "bytes/task" else span(value)
