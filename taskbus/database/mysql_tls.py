"""TLS to MySQL as the URL asks for it, by its ``ssl_`` options."""

import ssl
from collections.abc import Mapping
from functools import lru_cache

import pymysql
from pymysql.constants import CR

from taskbus.database import tls
from taskbus.errors import ConfigError

FILES = ("ssl_ca", "ssl_cert", "ssl_key")
SWITCHES = ("ssl_verify_cert", "ssl_verify_identity")
_ON, _OFF = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def check(options: Mapping[str, str]) -> None:
    """Raise ``ConfigError`` for what would verify less than was meant."""
    for name in SWITCHES:
        if options.get(name, "true").lower() not in (*_ON, *_OFF):
            raise ConfigError(f"{name}={options[name]!r} is neither true nor false")
    if not _is_on(options.get("ssl_verify_cert", "true")) and _is_on(options.get("ssl_verify_identity", "false")):
        raise ConfigError("ssl_verify_identity=true needs the certificate verified; leave ssl_verify_cert=false out")
    tls.check_key(options, "ssl_cert", "ssl_key")


def context(options: Mapping[str, str]) -> ssl.SSLContext | None:
    """How TLS is done: required once there is any of its options. None: as the driver likes it.

    Certificate and name are verified unless a switch says not to, by ``ssl_ca`` or those the system trusts. Files are
    read each time, since certificates are renewed. Raises ``pymysql.OperationalError`` where one cannot be read.
    """
    if not any(name in options for name in (*FILES, *SWITCHES)):
        return None
    verifies, identifies = (_is_on(options.get(name, "true")) for name in SWITCHES)
    try:
        made = tls.context(options.get("ssl_ca"), options.get("ssl_cert"), options.get("ssl_key"))
    except tls.Unreadable as error:
        raise pymysql.OperationalError(CR.CR_SSL_CONNECTION_ERROR, error.strerror) from error
    # What MySQL signs by itself at its first start is not strictly what RFC 5280 asks for, as Python 3.13 would check.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.check_hostname = verifies and identifies
    made.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    return made


@lru_cache(maxsize=1)
def unverified() -> ssl.SSLContext:
    """For whoever answers: it loads none of the system's authorities, as the driver does, 15 ms for each connection."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def _is_on(text: str) -> bool:
    return text.lower() in _ON
