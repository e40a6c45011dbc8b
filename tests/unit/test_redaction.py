"""Secrets do not reach a record or a page, whatever shape they come in; and what is none stays readable."""

import string
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskbus.monitor.redaction import LONGEST, MASK, Redactor

redactor = Redactor()


@pytest.mark.parametrize(
    "name",
    [
        "password", "Passwd", "user_password", "PASSWORD_HASH", "newPassword", "pwd", "secret", "client_secret",
        "clientSecret", "token", "access_token", "authToken", "api_key", "apiKey", "X-API-Key", "APIKEY",
        "authorization", "Proxy-Authorization", "credential", "aws_credentials", "card", "card_number", "creditCard",
        "cvv", "pin", "passphrase", "private_key", "session_id", "cookie", "Set-Cookie", "jwt", "iban", "HTTPToken",
    ],
)  # fmt: skip
def test_a_name_of_a_secret_is_known_however_it_is_written(name: str) -> None:
    assert redactor.is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["user", "name", "key", "primary_key", "discard", "cardinality", "postcard_id", "authors", "spinner", "compass",
     "passenger", "tokenizer", "monkey", "section", "bypass_cache", "panel", "pinned", "passed"],
)  # fmt: skip
def test_a_name_that_merely_looks_alike_is_shown(name: str) -> None:
    assert not redactor.is_secret(name)


def test_names_of_the_applications_own_count_by_their_words() -> None:
    own = Redactor(["tax_id", "Steuernummer"])
    assert all(map(own.is_secret, ["tax_id", "taxId", "customer_tax_id", "steuernummer"]))
    assert not any(map(own.is_secret, ["tax", "id", "taxi_id"]))


def test_a_positional_argument_is_known_by_its_parameter_and_told_where_it_is_quoted() -> None:
    args, kwargs, secrets = redactor.call(
        ["ann", "hunter2", 5], {"api_key": "k-12345", "options": {"card": 4000, "size": 1}}, ["user", "password", "n"]
    )
    assert args == "('ann', '***', 5)"
    assert kwargs == "{'api_key': '***', 'options': {'card': '***', 'size': 1}}"
    assert set(secrets) == {"hunter2", "k-12345", "4000"}
    assert redactor.text("ann said hunter2, not k-12345", secrets) == "ann said ***, not ***"


def test_that_a_secret_is_missing_is_shown() -> None:
    assert redactor.value({"password": None, "token": False, "pin": 0}) == {
        "password": None,
        "token": False,
        "pin": MASK,
    }


TEXTS = {
    "password=hunter2 user=ann": "password=*** user=ann",
    "password: hunter2": "password: ***",
    "{'password': 'hunter2', 'user': 'ann'}": "{'password': '***', 'user': 'ann'}",
    '{"api_key": "hunter2", "n": 1}': '{"api_key": "***", "n": 1}',
    "    connect(user, password='hunter2', port=1)": "    connect(user, password='***', port=1)",
    "password = 'hunter\\'2'": "password = '***'",
    "wrong password 'hunter2' for ann": "wrong password '***' for ann",
    "Authorization: Bearer hunter2.hunter2": "Authorization: ***",
    "header was Bearer hunter2hunter2": "header was Bearer ***",
    "failed: postgresql://ann:hunter2@db/shop": "failed: postgresql://ann:***@db/shop",
    "https://hunter2token@github.com/x": "https://***@github.com/x",
    "https://shop/pay?token=hunter2&n=1": "https://shop/pay?token=***&n=1",
    "reason: password=hunter2": "reason: password=***",
    "card 4111 1111 1111 1111 declined": "card *** declined",
    "paid with 4111111111111111": "paid with ***",
    "order 4111111111111112 is late": "order 4111111111111112 is late",
    "key sk_live_hunter2hunter2": "key ***",
    "eyJhbGciOiJI.eyJzdWIiOiIx.hunter2hunter2": "***",
    "user: ann, port=5432": "user: ann, port=5432",
    "http://shop/a@b": "http://shop/a@b",
    "http://shop:8080/a@b": "http://shop:8080/a@b",
    "redis://:hunter2/and/more@db:6379/0 is away": "redis://:***@db:6379/0 is away",
    "amqp://ann:hunter2#@more@db/x": "amqp://ann:***@db/x",
    "KeyError: 'name'": "KeyError: 'name'",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_secret_in_a_text_is_left_out_and_all_else_stays(text: str) -> None:
    assert redactor.text(text) == TEXTS[text]


def test_a_private_key_is_left_out_whole() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEhunter2\nabc\n-----END RSA PRIVATE KEY-----"
    assert redactor.text(f"cannot read {key} here") == f"cannot read {MASK} here"


def test_a_long_traceback_keeps_every_line_and_no_secret() -> None:
    lines = [f'  File "shop.py", line {n}, in pay\n    charge(card="4000{n}")\n' for n in range(400)]
    shown = redactor.ends("".join(lines))
    assert all(f"line {n}, in pay" in shown for n in range(400))
    assert "4000" not in shown


def test_of_a_very_long_text_only_the_beginning_is_shown_and_no_half_secret() -> None:
    text = "x" * (LONGEST - 10) + " password=hunter2"
    assert "hunter" not in redactor.text(text)
    assert len(redactor.text(text)) < LONGEST


PLAIN = st.text(alphabet=string.ascii_letters + string.digits + "!@#%^*-_+", min_size=6, max_size=30)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=10),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each, max_size=3),
    max_leaves=8,
)


@given(VALUES, PLAIN, st.sampled_from(["password", "api_key", "Authorization", "cardNumber"]))
def test_a_secret_never_survives_in_a_value(around: Any, secret: str, name: str) -> None:
    secret = f"Z{secret}Z"  # so that it cannot be met elsewhere by chance
    value = {"a": [around, {name: secret}, (around, {name: {"deep": secret}})]}
    assert secret not in repr(redactor.value(value))
    assert secret not in "".join(redactor.call([value], {"b": value}, ["a"])[:2])


@pytest.mark.parametrize(
    "unit",
    [
        "a", "a=", "'", '"', "://", "a://b:", "password", "password='", "password=", "4", "4 ", "-", "\\", "eyJ",
        "Bearer ", "-----BEGIN PRIVATE KEY-----", "\n", " ", "a'b=\"", "{'a': ",
    ],
)  # fmt: skip
def test_no_text_takes_long(unit: str) -> None:
    """The patterns must not be slow on what an attacker sends."""
    text = unit * (LONGEST // len(unit) + 1)
    begun = time.process_time()
    redactor.text(text)
    assert time.process_time() - begun < 0.5
