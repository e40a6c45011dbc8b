"""Where a request comes from, and which proxies may say so."""

import ipaddress
from collections.abc import Iterable
from http import HTTPStatus

from starlette.requests import HTTPConnection

from taskbus.errors import ConfigError
from taskbus.web.refusal import Refusal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and networks, as ``10.0.0.7`` or ``10.0.0.0/8``. Raises ``ConfigError``."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError as error:
            raise ConfigError(f"setting web_proxies: {error}; write addresses like 10.0.0.7 or 10.0.0.0/8") from None
    return tuple(found)


class Addresses:
    """Tells proxies from others. Only what a proxy says is believed: anybody can write a header."""

    def __init__(self, proxies: Iterable[str]) -> None:
        self._proxies = networks(proxies)

    def is_proxy(self, address: str) -> bool:
        """Whether that is one of our proxies."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(mapped in network for network in self._proxies)

    def came_through_proxy(self, request: HTTPConnection) -> bool:
        """Whether the connection is from a proxy."""
        return self.is_proxy(peer(request))

    def of(self, request: HTTPConnection) -> str:
        """The address of whoever asks: of the header of proxies, the last one that is none of them."""
        address = peer(request)
        said = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
        while self.is_proxy(address) and said:
            address = said.pop().strip() or address
        return address


def peer(request: HTTPConnection) -> str:
    """The address at the other end of the connection, "" if it has none."""
    return request.client.host if request.client else ""


def is_loopback(address: str) -> bool:
    """Whether that is this machine; "" (a socket of the file system) is."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address in ("", "localhost")
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def single(request: HTTPConnection, header: str) -> str:
    """A header's value, "" if it is not there. Raises ``Refusal`` if it is there twice: one may be forged."""
    values = request.headers.getlist(header)
    if len(values) > 1:
        raise Refusal(
            HTTPStatus.BAD_REQUEST, f"the header {header} is there {len(values)} times", "let the proxy set it"
        )
    return values[0].strip() if values else ""
