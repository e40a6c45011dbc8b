"""A password in a URL is shown nowhere: whatever its characters, whatever is wrong with the rest."""

import traceback
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from taskbus.broker.monitoring.place import place_of
from taskbus.broker.transports import schemes
from taskbus.broker.transports.amqp import address
from taskbus.broker.transports.port import Opening
from taskbus.broker.transports.schemes import transport_of
from taskbus.celery_results.opening import Place, open_celery_results
from taskbus.cli.options import Scope
from taskbus.config import Config
from taskbus.database import redis_url, sqlite
from taskbus.database.opening import open_database
from taskbus.database.urls import redacted, redacted_text
from taskbus.errors import ConfigError
from taskbus.history.opening import open_history
from taskbus.store.opening import SCHEMES, open_store
from taskbus.worker.options import WorkerOptions


def celery_results(url: str) -> object:
    return open_celery_results(url, 60.0)


OPENERS: dict[str, tuple[Callable[[str], object], ...]] = {
    "redis": (redis_url.locate, open_store, place_of, celery_results),
    "sentinel": (redis_url.locate, open_store, place_of, celery_results),
    "redis+cluster": (redis_url.locate, open_store),
    "amqp": (address.read, place_of, open_store),
    "postgresql": (open_database, open_store, open_history),
    "mysql": (open_database, open_store, open_history),
    "db+postgresql": (celery_results, open_store),
    "sqlite": (sqlite.locate, transport_of),
    "unknown": (transport_of, open_store, open_history, celery_results, redis_url.locate, sqlite.locate),
}


def kind_of(scheme: str) -> str:
    if scheme in redis_url.SCHEMES:
        return scheme.replace("rediss", "redis").replace("sentinels", "sentinel")
    plain = (
        scheme.removesuffix("s") if scheme == "amqps" else scheme.partition("+")[0] if "db+" not in scheme else scheme
    )
    return {"postgres": "postgresql", "mariadb": "mysql"}.get(plain, plain if plain in OPENERS else "unknown")


KNOWN = sorted({*schemes.SCHEMES, *SCHEMES, "db+postgresql"} - {"memory"})
MISTYPED = ["redi", "Redis", "postgress", "postgresql+nothing", "amqpp", "db+", "", "user:x@redis"]
PIECES = st.sampled_from(["Geheim1", "Verborgen2", "żółw3", "9731", "²³¹", "\uff50\uff57\u2100"])
MARKS = st.text("/?#@:,%[]", min_size=1, max_size=2)
PASSWORDS = st.lists(st.tuples(PIECES, MARKS), max_size=3).flatmap(
    lambda begun: st.tuples(st.just(begun), PIECES, st.sampled_from(["", "@", "/", "%"]))
)
URLS = st.sampled_from(
    [
        "{scheme}://:{password}@host/0", "{scheme}://user:{password}@host:1234/shop", "{scheme}://user:{password}@a,b:12/x/0",
        "{scheme}://user:{password}@host:port/0", "{scheme}://user:{password}@host", "{scheme}://user:{password}@[::1]:12/0?x=1",
        "{scheme}:/user:{password}@host/0", "{scheme}:user:{password}@host", "user:{password}@host/0",
        "{scheme}//user:{password}@host/0",
    ]
)  # fmt: skip


def shown_by(opener: Callable[[str], object], url: str) -> str:
    """All that anybody is shown of it: an error with its causes, or the thing itself."""
    try:
        made = opener(url)
    except ConfigError as error:
        return "".join(traceback.format_exception(error))
    return f"{made!r} {getattr(made, 'shown', '')} {getattr(made, 'where', '')} {getattr(made, 'place', '')}"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*KNOWN, *MISTYPED]), URLS, PASSWORDS)
@example("redis", "{scheme}://:{password}@host/0", ([("Geheim1", "/")], "Verborgen2", ""))
@example("db+postgresql", "{scheme}://user:{password}@host/0", ([("9731", "?")], "Geheim1", ""))
@example("amqp", "{scheme}://user:{password}@host/0", ([("9731", "/")], "Verborgen2", ""))
@example("postgresql", "{scheme}://user:{password}@host:1234/shop", ([("Geheim1", "@"), ("9731", "/")], "żółw3", ""))
def test_no_part_of_a_password_is_shown(
    scheme: str, form: str, password: tuple[list[tuple[str, str]], str, str]
) -> None:
    begun, last, end = password
    text = "".join(piece + mark for piece, mark in begun) + last + end
    url = form.format(scheme=scheme, password=text)
    pieces = {last, *(piece for piece, _ in begun)}
    assert not [piece for piece in pieces if piece in redacted(url)]
    for opener in OPENERS[kind_of(scheme)] + OPENERS["unknown"][:2]:
        shown = shown_by(opener, url)
        assert not [piece for piece in pieces if piece in shown], shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pa/ss@host/0", "redis://:***@host/0"),
        ("redis://user:a?b#c@d@host:1/0?prefix=shop", "redis://user:***@host:1/0?prefix=shop"),
        ("amqps://me:se,cret@a:1,b:2/shop", "amqps://me:***@a:1,b:2/shop"),
        ("redi://user:secret@host/0", "redi://user:***@host/0"),
        ("user:secret@host/0", "user:***@host/0"),
        ("redis:/user:secret@host/0", "redis:***@host/0"),
        ("user:secret@redis://me:other@host", "user:***@host"),
        ("redis://user:secret/0", "redis://user:***"),  # whoever wrote it forgot the host
        ("sqlite://user:secret@host/db", "sqlite://user:***@host/db"),
        ("postgresql://me@host/db?sslpassword=a#b&sslmode=require", "postgresql://me@host/db?sslpassword=***&sslmode=require"),
        ("postgresql://host:5432/db?p%61ssword=a@b", "postgresql://host:***"),
        ("mysql://me@host/db?PASSWD=a&b&x=1", "mysql://me@host/db?PASSWD=***&***&x=1"),
        ("postgresql://me:x@host/db?sslkey=/a.key&sslpassword=b", "postgresql://me:***@host/db?sslkey=/a.key&sslpassword=***"),
        ("rediss://host?key_file=/a.key&api_key=b", "rediss://host?key_file=/a.key&api_key=***"),
        ("sentinel://a,b:2/main/3?sentinel_password=two", "sentinel://a,b:2/main/3?sentinel_password=***"),
    ],
)  # fmt: skip
def test_what_is_secret_is_replaced_and_all_else_stays(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://host", "redis://", "rediss://[::1]:2/0", "sentinel://a,b:2/main/3", "amqp://me@host//", "memory://x",
        "sqlite:////home/a:b@c/shop.db?synchronous=FULL", "sqlite:///shop.db", "postgresql:///db?host=/run/postgresql",
        "mysql://u@/db?unix_socket=/run/mysqld/mysqld.sock", "/var/spool/shop:1.db", "disabled", "",
    ],
)  # fmt: skip
def test_a_url_without_a_secret_is_shown_as_it_is(url: str) -> None:
    assert redacted(url) == url


def test_of_a_text_the_urls_are_redacted_and_the_words_stay() -> None:
    said = "cannot fetch: 'redis://u:pa/ss@host:1/0': 10:30, ask admin@shop (see https://docs/x:y, amqp://h:5672/)."
    shown = "cannot fetch: 'redis://u:***@host:1/0': 10:30, ask admin@shop (see https://docs/x:y, amqp://h:5672/)."
    assert redacted_text(said) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:12/secret@host/db", "mysql://u:a@b/secret@host/db", "amqp://u:12/secret@host/shop",
        "amqp://u:12?secret@host/shop", "redis://u:12?prefix=secret@host/0",
    ],
)  # fmt: skip
def test_where_nobody_can_tell_where_a_password_ends_the_url_is_refused_with_advice(url: str) -> None:
    with pytest.raises(ConfigError, match="%2F %3F %23 %40") as caught:
        OPENERS[kind_of(url.partition(":")[0])][0](url)
    assert "secret" not in str(caught.value)


def test_a_password_that_works_unquoted_still_works() -> None:
    assert redis_url.locate("redis://:pa/ss@host/0").password == "pa/ss"
    assert redis_url.locate("redis://:pa#s%40s@host/0").password == "pa#s@s"
    assert address.read("amqp://u:p@ss@host/v%40h").password == "p@ss"
    assert address.read("amqp://u:p%2Fss@host/v%40h").vhost == "v@h"
    assert address.read("amqp://host?queue_type=classic").queue_type == "classic"
    assert address.read("amqp://u:p%5Bw@[::1]:9/").hosts == (("::1", 9),)


def test_no_repr_shows_a_url_with_its_password() -> None:
    url = "amqp://user:secret@host/0"
    holders = [
        Config(broker=url, results=url, history=url, celery_results=url), Opening(url), Scope(broker=url, results=url),
        WorkerOptions(app="shop:app", overrides={"broker": url}), place_of(url), Place(f"db+{url}", True, False),
        open_database("postgresql://user:secret@host/0?sslpassword=secret"), address.read(url),
    ]  # fmt: skip
    assert not [each for each in holders if "secret" in repr(each)]
