"""Every setting, once: a field here is a keyword of ``TaskBus``, a ``TASKBUS_*`` variable, a TOML key, a flag."""

import dataclasses
import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from taskbus.errors import ConfigError

DEFAULT_DATABASE = "taskbus.db"


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one application; every one has a default that is good in production.

    Durations are seconds, sizes bytes.
    """

    broker: str = field(default="", repr=False)
    """URL of the broker; empty: the SQLite file ``taskbus.db`` in the working folder."""
    results: str = field(default="", repr=False)
    """URL of the store of results and dead letters; empty: the broker's database where it can be one."""
    default_queue: str = "default"
    """Queue of tasks that name none."""
    queues: tuple[str, ...] = ()
    """Queues a worker consumes; empty: the default queue and every queue a task of the app names."""
    celery_queues: tuple[str, ...] = ()
    """Queues shared with Celery: sent to in its wire format, and on Redis read from its lists too."""
    celery_results: str = field(default="", repr=False)
    """Where Celery keeps its results (its ``result_backend``), for tasks that came by its wire or were sent by it."""
    serializer: str = "msgpack"
    """Encoding of arguments and results: ``msgpack`` or ``json``."""
    store_results: bool = True
    """Whether tasks that do not say so keep their return value."""
    result_ttl: float = 86_400.0
    """How long a result is kept."""
    flow_ttl: float = 86_400.0
    """How long a workflow is kept after it has ended."""
    max_message_bytes: int = 1_048_576
    """Largest message accepted by a send, and read by a worker."""
    publish_timeout: float = 5.0
    """Total time a send may take before it raises."""
    spool: str = ""
    """File in which a sender keeps what it cannot send while the broker is out of reach; empty: it raises."""
    max_spool_bytes: int = 268_435_456
    """Room in the spool; a send that finds none raises."""
    dedup_window: float = 60.0
    """How long a broker remembers the id of a task sent, and refuses it a second time; 0: not at all."""
    lease: float = 30.0
    """How long a silent worker keeps its deliveries; renewed every third of it. Then they go to others."""
    sweep: float = 5.0
    """How often each worker looks for dead workers and expired results."""
    grace: float = 25.0
    """How long running tasks may go on after SIGTERM; then they are given back."""
    beat_lease: float = 10.0
    """How long a silent beat keeps others from doing its work; renewed every third of it."""
    max_crashes: int = 3
    """Runner deaths after which a message is buried as poison."""
    max_losses: int = 10
    """Losses, each with its whole worker, after which a message is buried as poison."""
    unknown_task_grace: float = 60.0
    """How long a message of an unknown task waits for a worker that knows it; then it is buried."""
    processes: int = 0
    """Runner processes of a worker; 0: one per CPU."""
    threads: int = 0
    """Thread slots per runner for ``def`` tasks; 0: its main thread, one at a time."""
    coroutines: int = 100
    """Slots per runner for ``async def`` tasks."""
    telemetry: bool = False
    """Whether workers tell of each task as Celery's do (its events); a monitor can ask for it later, too."""
    telemetry_rate: int = 500
    """Tasks a second that each worker tells of at most, in full; what fails is always told, the rest only counted."""
    telemetry_sent: bool = False
    """Whether an application tells of each task that it sends (Celery's ``task-sent``), on Redis and RabbitMQ; at most
    ``telemetry_rate`` a second."""
    remote_control: str = "auto"
    """What of Celery's remote control workers obey: ``full``, ``inspect`` (they tell, and change nothing), ``off``; or
    ``auto``: full on Redis and RabbitMQ, off on databases."""
    reports: bool = True
    """Whether workers and beats report to the result store what they do: for the web page, history and commands."""
    reports_rate: int = 50
    """Tasks a second of which each worker keeps a record although they went well; what fails is recorded in full."""
    redact: tuple[str, ...] = ()
    """Names of arguments and keys whose values are secrets, beyond those like ``password``, ``token`` or ``card``."""
    task_logs: bool = True
    """Whether the last lines that an attempt logs are kept with its record."""
    http: str = ""
    """Where a worker or beat serves metrics and probes: ``HOST:PORT``, or ``PORT`` on loopback; empty: nowhere."""
    health_file: str = ""
    """File in which a worker or beat keeps its state for ``taskbus health``; ``auto``: one by its name; empty: none."""
    metrics_tasks: int = 200
    """Tasks (by queue) that metrics tell apart, first come first served; the rest are counted together as ``other``."""
    metrics_queues: bool = True
    """Whether a worker's metrics tell how long the queues are: it asks the broker, when it is scraped."""
    metrics_hostname: bool = False
    """Whether histograms have the label ``hostname``, which multiplies their number by that of hosts."""
    history: str = field(default="", repr=False)
    """URL of the SQL database in which `taskbus web` keeps the history; empty: that of the results on a server, else a
    SQLite file beside theirs (``NAME-history.db``)."""
    history_keep: float = 604_800.0
    """How long the history keeps records of successes. Counts are kept for a year, to the minute for three days."""
    history_keep_failures: float = 2_592_000.0
    """How long the history keeps records of all that did not succeed, retries included."""
    history_max_records: int = 1_000_000
    """Records in the history; beyond that the oldest go, failures last."""
    history_max_bytes: int = 1_073_741_824
    """What they may take, about; beyond that the oldest go, failures last."""
    start_method: str = "forkserver"
    """How runners start: ``forkserver`` (the app is imported once) or ``spawn`` (once per runner)."""
    max_tasks_per_runner: int = 0
    """Attempts after which a runner is replaced; 0: never."""
    max_memory_per_runner: int = 0
    """Resident memory after which a runner is replaced; 0: never."""
    web_auth: tuple[str, ...] = ()
    """How the web server finds out who asks: ``token``, ``basic``, ``oidc``, ``proxy``, or several of them; empty: it
    asks nobody, and serves this machine alone."""
    web_tokens: tuple[str, ...] = field(default=(), repr=False)
    """Its tokens, each as ``name:role:hash``; ``taskbus web token`` makes them."""
    web_metrics_tokens: tuple[str, ...] = field(default=(), repr=False)
    """Tokens that open its ``/metrics`` and nothing else, each as ``name:role:hash``, whatever ``web_auth`` is."""
    web_users: tuple[str, ...] = field(default=(), repr=False)
    """Who may sign in with a password, each as ``name:role:hash``; ``taskbus web password`` makes them."""
    web_roles: tuple[str, ...] = ()
    """Roles of those whom OIDC or a proxy names, each as ``who=role``: ``ann@shop.example=admin``, ``@ops=operator``
    (a group), ``*@shop.example=viewer``. The highest that fits counts; whom none fits is refused."""
    web_url: str = ""
    """Where users reach it, such as ``https://shop.example/taskbus``, if it is behind a proxy."""
    web_hosts: tuple[str, ...] = ()
    """Names under which it may be asked (the ``Host`` header), besides its own; others are refused."""
    web_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies in front of it, whose headers it believes."""
    web_proxy_user: str = "X-Forwarded-User"
    """The header in which such a proxy says who asks."""
    web_proxy_groups: str = "X-Forwarded-Groups"
    """The header in which it names his groups, with commas between."""
    web_oidc_issuer: str = ""
    """The OpenID provider, as its ``/.well-known/openid-configuration`` names it."""
    web_oidc_client_id: str = ""
    """What the web server is called there."""
    web_oidc_client_secret: str = field(default="", repr=False)
    """Its secret there; empty: it has none (PKCE alone)."""
    web_oidc_groups: str = "groups"
    """The claim that holds somebody's groups."""
    web_secret: str = field(default="", repr=False)
    """Signs the cookies of those who signed in; empty: a new one at each start, which signs all out. 32 characters or
    more."""
    web_environment: str = ""
    """A word that the page shows beside its name: ``production``, ``staging``."""

    def __post_init__(self) -> None:
        for name, floor in _FLOORS.items():
            if not getattr(self, name) >= floor:  # so that "not a number" is refused too
                raise ConfigError(f"{name}={getattr(self, name)!r} is too small; it must be at least {floor}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name}={getattr(self, name)!r} is not one of {', '.join(allowed)}")


_FLOORS: dict[str, float] = {
    "result_ttl": 0, "flow_ttl": 0, "max_message_bytes": 256, "publish_timeout": 0.001, "max_spool_bytes": 0,
    "dedup_window": 0, "lease": 0.1, "sweep": 0.05, "beat_lease": 0.1, "grace": 0, "max_crashes": 1, "max_losses": 1,
    "unknown_task_grace": 0, "processes": 0, "threads": 0, "coroutines": 0, "telemetry_rate": 1,
    "reports_rate": 0, "max_tasks_per_runner": 0, "max_memory_per_runner": 0, "metrics_tasks": 1,
    "history_keep": 0, "history_keep_failures": 0, "history_max_records": 0, "history_max_bytes": 0,
}  # fmt: skip
_CHOICES = {
    "serializer": ("msgpack", "json"),
    "start_method": ("forkserver", "spawn"),
    "remote_control": ("auto", "full", "inspect", "off"),
}
SECRETS = frozenset({"web_tokens", "web_metrics_tokens", "web_users", "web_oidc_client_secret", "web_secret"})
"""Settings that are never shown."""


def load(
    given: Mapping[str, Any], *, environment: Mapping[str, str] | None = None, file: Path | None = None
) -> tuple[Config, dict[str, str]]:
    """Merge the sources, the weakest first: defaults, TOML file, ``TASKBUS_*``, what the code says, the command line.

    ``file`` None: ``taskbus.toml``, or ``[tool.taskbus]`` of ``pyproject.toml``, in the working folder if there is one.
    Returns the settings and, for each name, where its value comes from.
    Raises ``ConfigError`` for an unknown name, with the nearest known one, or a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(_TYPES, "default")
    variables = os.environ if environment is None else environment
    for origin, source in (*_files(file), *_variables(variables), ("code", given), *_command_line(variables)):
        for name, value in source.items():
            values[name] = convert(name, value, origin)
            origins[name] = origin
    return Config(**values), origins


def convert(name: str, value: Any, origin: str) -> Any:
    """The value as the type of setting ``name``; texts (from variables and flags) are read as TOML would be."""
    kind = _TYPES.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, _TYPES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(_TYPES)}"
        raise ConfigError(f"unknown setting {name!r} ({origin}){hint}")
    try:
        return _CONVERT[kind](value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"setting {name} ({origin}) cannot be {value!r}; it must be {_KINDS[kind]}") from error


def _files(file: Path | None) -> list[tuple[str, Mapping[str, Any]]]:
    path = file or Path("taskbus.toml")
    if path.is_file():
        return [(str(path), _read(path))]
    if file is not None:
        raise ConfigError(f"config file {str(file)!r} does not exist")
    project = Path("pyproject.toml")
    if project.is_file():
        tool = _read(project).get("tool")
        table = tool.get("taskbus") if isinstance(tool, dict) else None
        if isinstance(table, dict):
            return [("pyproject.toml [tool.taskbus]", table)]
        if table is not None:
            raise ConfigError(f"pyproject.toml: tool.taskbus is {table!r}; write a table of settings, [tool.taskbus]")
    return []


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


# Variables that are switches of tests and tools, not settings.
_NOT_SETTINGS = {"TASKBUS_FAILPOINTS", "TASKBUS_APP", "TASKBUS_OUTPUT", "TASKBUS_UI", "TASKBUS_NODE"}


def _variables(environment: Mapping[str, str]) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (key, {key.removeprefix("TASKBUS_").lower(): value})
        for key, value in sorted(environment.items())
        if key.startswith("TASKBUS_") and key not in _NOT_SETTINGS
    ]


OVERRIDES = "_TASKBUS_OVERRIDES"
"""Variable by which a command line reaches the processes below it: settings as a JSON object."""


def _command_line(environment: Mapping[str, str]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("command line", json.loads(environment[OVERRIDES]))] if OVERRIDES in environment else []


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return _BOOLEANS[value.lower()] if isinstance(value, str) and value.lower() in _BOOLEANS else _refuse(value)


_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _refuse(value: Any) -> Any:
    raise ValueError(value)


def _integer(value: Any) -> int:
    return int(value.replace("_", "")) if isinstance(value, str) else value if type(value) is int else _refuse(value)


def _number(value: Any) -> float:
    return _refuse(value) if isinstance(value, bool) else float(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _refuse(value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(filter(None, (part.strip() for part in value.split(","))))
    return tuple(_text(part) for part in value)


_CONVERT: dict[Any, Any] = {bool: _boolean, int: _integer, float: _number, str: _text, tuple[str, ...]: _texts}
_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple[str, ...]: "names",
}
_TYPES: dict[str, Any] = {field.name: get_type_hints(Config)[field.name] for field in dataclasses.fields(Config)}
