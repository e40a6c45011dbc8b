"""From the setting ``celery_results`` to where Celery's results are; a module is imported only when it is used."""

from dataclasses import dataclass, field
from importlib import import_module
from urllib.parse import parse_qsl, urlencode

from taskbus.celery_results.port import CeleryResults
from taskbus.database.urls import redacted, refuse_stray_at
from taskbus.errors import ConfigError

REDIS = ("redis", "rediss", "sentinel", "sentinels")


@dataclass(frozen=True, slots=True)
class Place:
    """The setting, read. ``is_extended``: documents say of which call they are, as by Celery's ``result_extended``."""

    url: str = field(repr=False)
    is_sql: bool
    is_extended: bool


def located(text: str) -> Place:
    """Read ``redis://host/1`` or ``db+postgresql://user@host/database``, each perhaps with ``?extended=true``.

    Raises ``ConfigError`` for anything else.
    """
    url, _, query = text.partition("?")
    refuse_stray_at(text, "", "", query)  # which is quoted below: what is behind its @ would be taken for an option
    options = dict(parse_qsl(query, keep_blank_values=True))
    is_extended = options.pop("extended", "false").lower() in ("true", "1", "yes")
    scheme, separator, _ = url.partition("://")
    is_sql = scheme.startswith("db+")
    if not separator or not (is_sql or scheme in REDIS):
        raise ConfigError(
            f"celery_results={redacted(text)!r} is none of Celery's result backends that TaskBus knows;"
            " write redis://host:6379/0 or db+postgresql://user@host/database, as in Celery's result_backend"
        )
    rest = f"?{urlencode(options)}" if options else ""
    return Place(f"{url.removeprefix('db+')}{rest}", is_sql, is_extended)


def open_celery_results(text: str, ttl: float) -> CeleryResults:
    """The results that the setting ``text`` names. ``ttl``: seconds for which chords are kept. Connects to nothing yet.

    Raises ``ConfigError``.
    """
    place = located(text)
    made: CeleryResults
    try:
        if place.is_sql:
            made = import_module("taskbus.celery_results.sql").open_sql(place.url, is_extended=place.is_extended)
        else:
            made = import_module("taskbus.celery_results.redis").open_redis(place.url, ttl)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("taskbus"):
            raise
        raise ConfigError(f"celery_results={redacted(text)!r} needs {error.name}; install it") from None
    return made
