"""Where an endpoint may be: anywhere in the world, and nowhere in our own network unless the operator has said so."""

import ipaddress
import socket

import httpx

from comms.outside import is_listed, is_public, lies_in
from comms.settings import WebhookSettings


def refusal_of(address: str, settings: WebhookSettings) -> str | None:
    """Why nothing is posted there, in the words of a field's error; None where it may be.

    Whether a name leads to the world is seen when it is asked.
    """
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        return "is not an address"
    if url.scheme not in ("https", "http") or not url.host:
        return "must be an https:// address"
    if url.userinfo:
        return "must not carry a user name or a password: prove who calls by the signature"
    if url.fragment:
        return "must not have a fragment, the part behind #: it would never be sent"
    if url.port == 0:
        return "names a port that there is not"
    if may_be_private(url, settings):
        return None
    ip = _address_in(url.host)
    if ip is None and "." not in url.host.strip("."):
        return "lies in a private network"
    if ip is not None and not is_public(ip):
        return None if lies_in(ip, settings.networks) else "lies in a private network"
    return None if url.scheme == "https" else "must be an https:// address"


def may_be_private(url: httpx.URL, settings: WebhookSettings) -> bool:
    """Whether the operator has named this very host."""
    return is_listed(url, settings.hosts)


def _address_in(host: str) -> str | None:
    """The IP address that a host is written as: 127.0.0.1 can be written as 2130706433 too, or as 0x7f.1."""
    try:
        return str(ipaddress.ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None
