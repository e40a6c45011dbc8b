"""TLS to MySQL as the URL asks for it, by its ``ssl_`` options."""

import ssl
from collections.abc import Mapping

import pymysql
from pymysql.constants import CR

from taskbus.errors import ConfigError

FILES = ("ssl_ca", "ssl_cert", "ssl_key")
SWITCHES = ("ssl_verify_cert", "ssl_verify_identity")
_ON, _OFF = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def check(options: Mapping[str, str]) -> None:
    """Raise ``ConfigError`` for what would verify less than was meant."""
    for name in SWITCHES:
        if options.get(name, "true").lower() not in (*_ON, *_OFF):
            raise ConfigError(f"{name}={options[name]!r} is neither true nor false")
    if "ssl_key" in options and "ssl_cert" not in options:
        raise ConfigError("ssl_key is the key of a certificate; name that too: ssl_cert=/path")


def context(options: Mapping[str, str]) -> ssl.SSLContext | None:
    """How TLS is done: required once there is any of its options. None: as the driver likes it.

    Certificate and name are verified unless a switch says not to, by ``ssl_ca`` or those the system trusts. Files are
    read each time, since certificates are renewed. Raises ``pymysql.OperationalError`` where one cannot be read.
    """
    if not any(name in options for name in (*FILES, *SWITCHES)):
        return None
    verifies, identifies = (options.get(name, "true").lower() in _ON for name in SWITCHES)
    try:
        made = ssl.create_default_context(cafile=options.get("ssl_ca"))
        if "ssl_cert" in options:
            made.load_cert_chain(options["ssl_cert"], options.get("ssl_key"))
    except OSError as error:
        said = f"a certificate or key cannot be read ({error})"
        raise pymysql.OperationalError(CR.CR_SSL_CONNECTION_ERROR, said) from error
    # What MySQL signs by itself at its first start is not strictly what RFC 5280 asks for, as Python 3.13 would check.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.check_hostname = verifies and identifies
    made.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
    return made
