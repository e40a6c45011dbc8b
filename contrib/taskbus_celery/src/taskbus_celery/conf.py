"""``app.conf``: Celery's settings, by their present and former names, and what TaskBus makes of them."""

import difflib
import importlib
import os
from collections.abc import Iterator, Mapping, MutableMapping
from datetime import timedelta
from typing import Any

from taskbus.celery_settings import Verdict, celery_settings, is_default, present_name
from taskbus.database.urls import redacted
from taskbus_celery.exceptions import ImproperlyConfigured, warn_once

HONOURED = frozenset({
    "beat_schedule", "broker_transport_options", "broker_url", "database_url", "enable_utc", "imports", "include",
    "result_backend", "result_chord_expires", "result_expires", "result_serializer", "task_always_eager",
    "task_annotations", "task_default_priority", "task_default_queue", "task_eager_propagates", "task_ignore_result",
    "task_queues", "task_routes", "task_send_sent_event", "task_serializer", "task_soft_time_limit", "task_time_limit",
    "task_track_started", "timezone", "worker_concurrency", "worker_enable_remote_control",
    "worker_max_memory_per_child", "worker_max_tasks_per_child", "worker_pool_start_method",
    "worker_send_task_events", "worker_soft_shutdown_timeout",
})  # fmt: skip
"""Settings that this package acts upon; the others are told of when they are given another value than their default."""
FOR_EVER = 10 * 365 * 86_400.0
"""Seconds for which a result is kept that Celery would keep until it is deleted."""
_STORES = ("redis", "rediss", "sentinel", "sentinels", "sqlite", "postgresql", "postgres", "mysql", "mariadb", "memory")
_VARIABLES = {"broker_url": "CELERY_BROKER_URL", "result_backend": "CELERY_RESULT_BACKEND"}


class Settings(MutableMapping[str, Any]):
    """Settings as attributes and as a mapping; what is set here stands above what ``config_from_object`` read.

    A name that is no setting of Celery's is the user's own, and is kept; one that is nearly Celery's is told of.
    """

    def __init__(self) -> None:
        self._set: dict[str, Any] = {}
        self._read: dict[str, Any] = {}
        self._defaults: dict[str, Any] = {}
        self._unread: list[tuple[Any, str, bool]] = []

    # --- sources -------------------------------------------------------------------------------------------------

    def read_later(self, source: Any, namespace: str, is_silent: bool) -> None:
        """Take the settings of a module, an object or a mapping when the first one is asked for: see ``read``."""
        self._unread.append((source, namespace, is_silent))

    def add_defaults(self, values: Mapping[str, Any]) -> None:
        """Values that stand below all others but Celery's own defaults."""
        self._defaults.update({_key(name): value for name, value in values.items()})

    def _catch_up(self) -> None:
        while self._unread:
            source, namespace, is_silent = self._unread.pop(0)
            for name, value in settings_of(source, namespace, is_silent).items():
                self._read[name] = value
                _tell(name, value)

    # --- as a mapping and as attributes --------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        self._catch_up()
        key = _key(name)
        variable = os.environ.get(_VARIABLES.get(key, ""))
        if variable:
            return variable
        for layer in (self._set, self._read, self._defaults):
            if key in layer:
                return layer[key]
        setting = celery_settings().get(key)
        if setting is None:
            raise KeyError(name)
        return setting.default

    def __setitem__(self, name: str, value: Any) -> None:
        key = _key(name)
        self._set[key] = value
        _tell(key, value)

    def __delitem__(self, name: str) -> None:
        del self._set[_key(name)]

    def __iter__(self) -> Iterator[str]:
        self._catch_up()
        return iter({**celery_settings(), **self._defaults, **self._read, **self._set})

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no setting {name!r}{_near(name)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self[name] = value

    def is_given(self, name: str) -> bool:
        """Whether it has a value that is not just Celery's default."""
        self._catch_up()
        key = _key(name)
        return any(key in layer for layer in (self._set, self._read, self._defaults)) or bool(
            os.environ.get(_VARIABLES.get(key, ""))
        )

    def without_defaults(self) -> dict[str, Any]:
        """What was given, by present names."""
        self._catch_up()
        return {**self._defaults, **self._read, **self._set}

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """The settings as a dict; ``censored`` hides passwords and keys."""
        found = dict(self) if with_defaults else self.without_defaults()
        if not censored:
            return found
        return {name: "********" if _is_secret(name) and value else value for name, value in found.items()}

    def __repr__(self) -> str:
        return f"<Settings {self.table()}>"


def settings_of(source: Any, namespace: str = "", is_silent: bool = False) -> dict[str, Any]:
    """The settings in a module, an object, a mapping, or what a text like ``module``, ``module:name`` names.

    Other names in it are left alone, as a module holds much else; those that begin with the namespace are told of.
    """
    found = source
    if isinstance(source, str):
        try:
            found = imported(source)
        except ImportError as error:
            if is_silent:
                return {}
            raise ImproperlyConfigured(f"config_from_object({source!r}): {error}") from error
    given = found if isinstance(found, Mapping) else {name: getattr(found, name) for name in dir(found)}
    settings: dict[str, Any] = {}
    for name, value in given.items():
        key = present_name(str(name), namespace)
        if namespace and key == name:
            key = None
        if key is None and namespace and str(name).upper().startswith(f"{namespace.upper()}_"):
            key = str(name)[len(namespace) + 1 :].lower()
            key = present_name(key) or key
        if key is not None:
            settings[key] = value
    return settings


def imported(path: str) -> Any:
    """What ``module``, ``module:name`` or ``module.name`` names; raises ``ImportError``."""
    module, colon, name = path.partition(":")
    if colon:
        return getattr(importlib.import_module(module), name)
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        home, _, last = path.rpartition(".")
        if not home or error.name != path:
            raise
        try:
            return getattr(importlib.import_module(home), last)
        except AttributeError:
            raise error from None


def bus_settings(conf: Settings) -> dict[str, Any]:
    """What a ``TaskBus`` is made with. Raises ``ImproperlyConfigured`` for what it can do nothing like."""
    made: dict[str, Any] = {
        "default_queue": conf.task_default_queue,
        "queues": tuple(queue_names(conf.task_queues)) or (conf.task_default_queue,),
        "serializer": _serializer(conf),
    }
    if conf.is_given("result_expires"):
        made["result_ttl"] = _seconds(conf.result_expires) or FOR_EVER
    if conf.task_ignore_result:
        made["store_results"] = False
    if conf.worker_send_task_events:
        made["telemetry"] = True
    if conf.task_send_sent_event:
        made["telemetry_sent"] = True
    if not conf.worker_enable_remote_control:
        made["remote_control"] = "off"
    if conf.result_chord_expires:
        made["flow_ttl"] = _seconds(conf.result_chord_expires)
    made |= {name: url for name, url in (("broker", _broker(conf)), ("results", _results(conf))) if url}
    if conf.result_backend in ("disabled", "disabled://"):
        made["store_results"] = False
    for name, setting, factor in (
        ("processes", "worker_concurrency", 1),
        ("max_tasks_per_runner", "worker_max_tasks_per_child", 1),
        ("max_memory_per_runner", "worker_max_memory_per_child", 1024),
        ("grace", "worker_soft_shutdown_timeout", 1),
    ):
        if conf[setting]:
            made[name] = conf[setting] * factor
    if conf.is_given("worker_pool_start_method"):
        made["start_method"] = "spawn" if conf.worker_pool_start_method == "spawn" else "forkserver"
    return {**made, **conf.get("taskbus", {})}


def queue_names(queues: Any) -> Iterator[str]:
    """The names in ``task_queues``: texts, kombu's ``Queue`` objects, or a mapping by name."""
    for queue in queues or ():
        yield queue if isinstance(queue, str) else queue.name


def _serializer(conf: Settings) -> str:
    for name in ("task_serializer", "result_serializer"):
        if conf[name] not in ("json", "msgpack"):
            raise ImproperlyConfigured(
                f"{name}={conf[name]!r} cannot be had: TaskBus reads and writes json and msgpack, and never pickle; "
                "send plain values, dataclasses or pydantic models"
            )
    return str(conf.task_serializer)


def _broker(conf: Settings) -> str:
    """One URL, with all hosts in it; that of a Sentinel names the service, which Celery has among the options."""
    url = conf.broker_url
    first, *others = [each.strip() for each in (url.split(";") if isinstance(url, str) else url or ())] or [""]
    scheme, separator, rest = first.partition("://")
    own, slash, path = rest.partition("/")
    hosts = [each.partition("://")[2].partition("/")[0] for each in others]
    options = dict(conf.broker_transport_options or {})
    options.pop("visibility_timeout", None)
    service = options.pop("master_name", "")
    if options:
        warn_once(
            f"broker_transport_options: {', '.join(sorted(options))} has no effect here; see the URL's parameters"
        )
    if scheme.startswith("sentinel") and service and not path.strip("/0123456789"):
        path = f"{service}/{path.strip('/')}".strip("/")
        slash = "/"
    return f"{scheme}{separator}{','.join([own, *hosts])}{slash}{path}"


def _results(conf: Settings) -> str:
    """The URL of the result store; "" for the broker's own database."""
    url = conf.result_backend or conf.database_url or ""
    scheme = url.partition(":")[0]
    if url in ("disabled", "disabled://") or scheme in ("rpc", "amqp"):
        return ""
    if scheme.startswith("db+"):
        return str(url.removeprefix("db+"))
    if not url or scheme.partition("+")[0] in _STORES:
        return str(url)
    raise ImproperlyConfigured(
        f"result_backend={redacted(str(url))!r} cannot be had: results go to Redis, SQLite, PostgreSQL or "
        "MySQL; leave it out for the broker's own database"
    )


def _seconds(value: Any) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else float(value or 0.0)


def _key(name: str) -> str:
    return present_name(name) or name


def _near(name: str) -> str:
    near = difflib.get_close_matches(name, celery_settings(), 1, 0.85)
    return f"; did you mean {near[0]!r}?" if near else ""


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in ("password", "secret", "token", "_key", "url", "backend"))


def _tell(name: str, value: Any) -> None:
    setting = celery_settings().get(name)
    if setting is None:
        near = _near(name)
        if near:
            warn_once(f"Celery has no setting {name!r}{near}")
    elif name.endswith("accept_content"):
        others = {*map(str, value or ())} - {"json", "msgpack", "application/json", "application/x-msgpack"}
        if others:
            warn_once(f"{name}: {', '.join(sorted(others))} is not accepted: {setting.words}")
    elif name not in HONOURED and setting.verdict is not Verdict.NEEDLESS and not is_default(value, setting.default):
        warn_once(f"the setting {name} has no effect here: {setting.words}")
