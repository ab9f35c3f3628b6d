"""Where an endpoint may be: anywhere in the world, and nowhere in our own network unless the operator has said so."""

import httpx

from comms.outside import Refused, address_in, host_of, is_listed, is_public, lies_in, parsed
from comms.settings import WebhookSettings


def refusal_of(address: str, settings: WebhookSettings) -> str | None:
    """Why nothing is posted there, in the words of a field's error; None where it may be.

    Whether a name leads to the world is seen when it is asked.
    """
    try:
        url = parsed(address)
    except Refused:
        return "is not an address"
    host = host_of(url)
    if url.scheme not in ("https", "http") or not host:
        return "must be an https:// address"
    if url.userinfo:
        return "must not carry a user name or a password: prove who calls by the signature"
    if url.fragment:
        return "must not have a fragment, the part behind #: it would never be sent"
    if url.port is not None and not 1 <= url.port <= 65_535:
        return "names a port that there is not"
    if may_be_private(url, settings):
        return None
    ip = address_in(host)
    if ip is None and "." not in host.strip("."):
        return "lies in a private network"
    if ip is not None and not is_public(ip):
        return None if lies_in(ip, settings.networks) else "lies in a private network"
    return None if url.scheme == "https" else "must be an https:// address"


def may_be_private(url: httpx.URL, settings: WebhookSettings) -> bool:
    """Whether the operator has named this very host."""
    return is_listed(url, settings.hosts)
