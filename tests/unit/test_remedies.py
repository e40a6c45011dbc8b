"""What to look at where a server was not reached."""

import ssl

import pytest

from taskbus.database.tls import Unreadable, context, remedy


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "is it running?"),
        (OSError(-2, "tls.certificate.example: Name or service not known"), "is it running?"),
        (ConnectionResetError(104, "Connection reset by peer"), "without TLS? the way with it is rediss://"),
        (ssl.SSLCertVerificationError(1, "certificate has expired"), "it must be valid, name this host"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "does it speak TLS on this port?"),
        (ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert"), "a certificate of yours?"),
        (Unreadable(None, "a certificate or key cannot be read"), "correct its path in the URL"),
    ],
)
def test_the_remedy_goes_by_what_failed_and_not_by_its_words(error: OSError, says: str) -> None:
    assert says in remedy(error, "rediss")


def test_a_connection_that_is_reset_under_tls_does_not_want_it() -> None:
    assert remedy(ConnectionResetError(104, "Connection reset by peer")) == "is it running?"


def test_a_file_that_is_no_certificate_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        context(__file__, None, None)
    with pytest.raises(Unreadable, match="cannot be read"):
        context(None, "/nowhere", None)
