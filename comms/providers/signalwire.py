"""SignalWire's dialect: five signature schemes over one key, and three ways to say "a message".

    A      JSON          hex(HMAC-SHA1(key, url + body))          the SHA-256 header, if there, decides alone
    A-256  JSON          hex(HMAC-SHA256(key, url + body))
    B      form, GET     base64(HMAC-SHA1(key, url + names and values sorted by name, repeated ones as they came))
    C      JSON          base64(HMAC-SHA1(key, url)), and ``bodySHA256`` in the URL is the body's hash
    D      JSON          B over the members of a flat object (only the 2.x SDKs)

``signalwire.core.security.webhook_validator`` is the oracle in our tests and not used here: importing it costs half a
second, and without ``bodySHA256`` it lets a signature over the URL alone prove any body.

https://developer.signalwire.com/
"""

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from comms.providers import parameters, wire
from comms.providers.base import DeliveryReport, Forged, InboundMessage, MediaItem, Opened, Request, Secrets, Unreadable
from comms.providers.outgoing import Refused
from comms.providers.rest import Account, resource

SIGNATURES = ("x-signalwire-signature", "x-twilio-signature")
SIGNATURE_256 = "x-signalwire-sha256-signature"

_SPACE = re.compile(r"(?:https://)?([a-z0-9][a-z0-9-]{0,62})(?:\.signalwire\.com)?/?", re.IGNORECASE)


class SignalWireCredentials(Secrets, frozen=True):
    """One project's secrets; the basic pair is what the webhook's URL was configured with in the dashboard."""

    project_id: str
    signing_key: str
    next_signing_key: str | None = None
    api_token: str | None = None
    space_url: str | None = None
    basic_user: str | None = None
    basic_password: str | None = None


def space_of(typed: str | None) -> str | None:
    """A space's address at SignalWire, whatever was typed: never another server's, which would get the token."""
    found = _SPACE.fullmatch(typed or "")
    return None if found is None else f"https://{found[1].lower()}.signalwire.com"


def account_at(credentials: SignalWireCredentials, base: str | None) -> Account:
    """The project in the compatibility API of its space, or of whoever stands in for it at ``base``."""
    place = base or space_of(credentials.space_url)
    if credentials.api_token is None or place is None:
        missing = "apiToken" if credentials.api_token is None else "spaceUrl"
        raise Refused(None, f"The connection's secret has no {missing} to send with.", of_connection=True)
    account = resource(f"{place}/api/laml", credentials.project_id)
    return Account(account, (credentials.project_id, credentials.api_token))


class SignalWire:
    """SignalWire messages and statuses: cXML by form, GET or JSON, and its native JSON."""

    name = "signalwire"

    @staticmethod
    def open(request: Request, credentials: SignalWireCredentials) -> Opened:
        """The parsed request, proven to be signed for this project; raises ``Forged`` or ``Unreadable``."""
        proof = _Proof(request, credentials)
        if request.method == "GET" and not request.body:
            proof.demand(proof.of_url())
            return Opened(wire.first_of_each(wire.query_of(request.url)))
        if request.method != "POST":
            raise Forged("only GET without a body and POST are signed")
        if not request.body:
            proof.demand(proof.of_url())
            return Opened({})
        if wire.is_form(request.headers):
            pairs = wire.form_of(request.body)
            proof.demand(proof.of_form(pairs))
            return Opened(wire.first_of_each(pairs))
        proof.demand(proof.of_json())
        document = wire.json_of(request.body)
        return Opened(wire.scalars_of(document), document)

    @staticmethod
    def message_of(opened: Opened) -> InboundMessage:
        """The inbound message; ``Forged`` when a mandatory name is missing."""
        message = opened.document.get("message") if isinstance(opened.document, dict) else None
        if isinstance(message, dict):
            return _swml_message(message)
        return parameters.message_in("signalwire", opened.fields)

    @staticmethod
    def report_of(opened: Opened) -> DeliveryReport:
        """The delivery report; ``Forged`` when a mandatory name is missing."""
        if "id" in opened.fields and "status" in opened.fields:
            return _native_report(opened.fields)
        return parameters.report_in("signalwire", opened.fields)


class _Proof:
    """One request against every key and every URL it may have been signed under."""

    def __init__(self, request: Request, credentials: SignalWireCredentials) -> None:
        self.request = request
        # A blank key would be one that everybody knows.
        keys = (credentials.signing_key, credentials.next_signing_key)
        self.keys = [key.encode() for key in keys if key]
        self.urls = _urls(request.url, credentials)

    def demand(self, genuine: bool) -> None:
        if not genuine:
            raise Forged("the signature is not this project's")

    def of_url(self) -> bool:
        """A request without a body: both A and B come down to the URL."""
        return self.of_form([]) or self._of_body("sha1", wire.signature_in(self.request.headers, *SIGNATURES))

    def of_form(self, pairs: wire.Pairs) -> bool:
        """Scheme B."""
        signature = wire.signature_in(self.request.headers, *SIGNATURES)
        suffix = "".join(name + value for name, value in sorted(pairs, key=lambda pair: pair[0]))
        urls = [variant for url in self.urls for variant in wire.port_variants(url)]
        messages = [wire.signable(url + suffix) for url in urls]
        digests = [hmac.digest(key, message, "sha1") for key in self.keys for message in messages]
        return wire.agrees(signature, map(b64encode, digests))

    def of_json(self) -> bool:
        if SIGNATURE_256 in self.request.headers:  # falling back to SHA-1 would let an attacker choose
            return self._of_body("sha256", wire.signature_in(self.request.headers, SIGNATURE_256))
        signature = wire.signature_in(self.request.headers, *SIGNATURES)
        if self._of_body("sha1", signature):
            return True
        if wire.body_hash_matches(self.request.url, self.request.body):
            return self.of_form([])
        pairs = _flat_pairs(self.request.body)
        return bool(pairs) and self.of_form(pairs)

    def _of_body(self, algorithm: str, signature: bytes) -> bool:
        """Scheme A, which knows no port variants."""
        messages = [wire.signable(url) + self.request.body for url in self.urls]
        digests = [hmac.digest(key, message, algorithm) for key in self.keys for message in messages]
        return wire.agrees(signature, [digest.hex().encode() for digest in digests])


def with_password(url: str, credentials: SignalWireCredentials) -> str:
    """The address with ``user:password@``, as a connection whose webhooks are configured so proves itself."""
    if credentials.basic_user is None:
        return url
    scheme, separator, rest = url.partition("://")
    password = "" if credentials.basic_password is None else f":{quote(credentials.basic_password, safe='')}"
    return f"{scheme}{separator}{quote(credentials.basic_user, safe='')}{password}@{rest}"


def _urls(url: str, credentials: SignalWireCredentials) -> list[str]:
    """Calls are signed for the URL without ``user:password@``, messages for the URL with it."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        return [url, f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"]
    if credentials.basic_user is None:
        return [url]
    return [url, with_password(url, credentials)]


def _flat_pairs(body: bytes) -> wire.Pairs:
    """The members of a flat JSON object of strings; nothing for any other document, or one that adds no text."""
    try:
        document = wire.json_of(body)
    except Unreadable:
        return []
    if not isinstance(document, dict) or not all(isinstance(value, str) for value in document.values()):
        return []
    return list(document.items()) if any(name or value for name, value in document.items()) else []


def _swml_message(message: Mapping[str, Any]) -> InboundMessage:
    """``{"message": {...}}``, the messaging SWML request; its body may be null or missing."""
    fields = wire.scalars_of(message)
    sid, account = fields.get("message_id"), fields.get("project_id")
    if not sid or not account or not ("from" in fields and "to" in fields):
        raise Forged("a mandatory member of the message is missing")
    sender, recipient = parameters.people(fields["from"], fields["to"])
    media = message.get("media")
    items = media if isinstance(media, list) else []
    details = {"type": "type", "direction": "direction", "timestamp": "timestamp", "space_id": "spaceId"}
    return InboundMessage(
        provider="signalwire",
        provider_message_id=wire.known_as(sid),
        account=account,
        channel=parameters.channel_of(fields["from"], fields["to"]),
        sender=sender,
        recipient=recipient,
        content=fields.get("body", ""),
        media=tuple(_media_item(item) for item in items[: parameters.MOST_MEDIA] if _has_url(item)),
        media_announced=min(len(items), 9999),
        segments=parameters.count(fields.get("segments"), 1) or 1,
        details={key: fields[name][: parameters.LONGEST_DETAIL] for name, key in details.items() if fields.get(name)},
    )


def _has_url(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("url"), str) and bool(item["url"])


def _media_item(item: Mapping[str, Any]) -> MediaItem:
    kind, size = item.get("content_type"), item.get("size")
    known_size = isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**53
    return MediaItem(item["url"], kind if isinstance(kind, str) and kind else None, size if known_size else None)


def _native_report(fields: Mapping[str, str]) -> DeliveryReport:
    """The status callback of ``POST /api/messaging/messages``."""
    fields = wire.without_nul(fields)
    if not fields["id"] or not fields["status"]:
        raise Forged("a mandatory member of the status is missing")
    details = {"from": "from", "to": "to", "number_of_segments": "numSegments"}
    return DeliveryReport(
        provider="signalwire",
        provider_message_id=wire.known_as(fields["id"]),
        account=fields.get("project_id", ""),
        reported=wire.known_as(fields["status"]),
        status=parameters.status_of(fields["status"]),
        error_code=fields.get("error_code") or None,
        error_message=fields.get("error_message") or None,
        at=wire.instant_of(fields.get("timestamp", "")),
        details={key: fields[name][: parameters.LONGEST_DETAIL] for name, key in details.items() if fields.get(name)},
    )
