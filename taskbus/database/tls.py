"""TLS as a URL asks for it, and what to look at where a server was not reached, be it for TLS or not."""

import ssl
from collections.abc import Mapping

from taskbus.errors import ConfigError

NOT_VALID = "it must be valid, name this host, and be signed by whom the URL names or the system trusts"
NO_FILE = "correct its path in the URL, or let this user alone read it"
WANTS_OURS = "does it ask for a certificate of yours?"
NO_TLS = "does it speak TLS on this port?"
NOT_THERE = "is it running?"


class Unreadable(OSError):
    """A file that the URL names for TLS cannot be read, or holds something else: no server was asked."""


def check_key(options: Mapping[str, str], certificate: str, key: str) -> None:
    """Raise ``ConfigError`` for a ``key`` whose certificate is not named: it would be left out without a word."""
    if key in options and certificate not in options:
        raise ConfigError(f"{key} is the key of a certificate; name that too: {certificate}=/path")


def context(authority: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """One that verifies the server's certificate and name, by ``authority`` or by whom the system trusts.

    ``certificate`` and ``key`` are the client's own. Raises ``Unreadable``: OpenSSL does not tell which file it was.
    """
    try:
        made = ssl.create_default_context(cafile=authority)
        if certificate is not None:
            made.load_cert_chain(certificate, key)
    except OSError as error:
        raise Unreadable(None, f"a certificate or key cannot be read ({error.strerror or error})") from error
    return made


def remedy(error: BaseException, way_with_tls: str = "") -> str:
    """What to look at where a server was not reached, by what the system or OpenSSL raised.

    ``way_with_tls``: the scheme that speaks TLS, where the one in use does not.
    """
    if isinstance(error, Unreadable):
        return NO_FILE
    if isinstance(error, ssl.SSLCertVerificationError):
        return NOT_VALID
    if isinstance(error, ssl.SSLError):
        return WANTS_OURS if "CERTIFICATE_REQUIRED" in str(error) or "HANDSHAKE_FAILURE" in str(error) else NO_TLS
    if way_with_tls and isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return f"{NOT_THERE[:-1]}, and without TLS? the way with it is {way_with_tls}://"
    return NOT_THERE
