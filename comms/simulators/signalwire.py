"""SignalWire's side of the wire: cXML parameters by form, GET or JSON, and its native JSON, signed as it signs them."""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from comms.providers.base import MediaItem, Request
from comms.providers.segments import measure
from comms.providers.signalwire import SignalWireCredentials
from comms.simulators import wire

SPACE_ID = "00000000-0000-4000-8000-00000000bbbb"


def message(
    url: str,
    credentials: SignalWireCredentials,
    *,
    sender: str,
    recipient: str,
    body: str | None = "Hello ☃",
    media: Sequence[MediaItem | str] = (),
    sid: str | None = None,
    shape: Literal["form", "get", "json", "swml"] = "form",
    at: datetime | None = None,
    **more: str,
) -> Request:
    """A text from ``sender`` to our number ``recipient``; ``more`` are further cXML parameters.

    ``swml`` is the native request: it alone may have no body, and is signed with the basic password in the URL.
    """
    attached, sid = wire.items(media), sid or wire.uuid()
    if shape == "swml":
        inner = {
            "message_id": sid,
            "project_id": credentials.project_id,
            "space_id": SPACE_ID,
            "direction": "inbound",
            "type": "mms" if attached else "sms",
            "from": sender,
            "to": recipient,
            "body": body,
            "media": [{"url": item.url, "content_type": item.content_type, "size": item.size} for item in attached],
            "segments": measure(body or "").segments,
            "timestamp": _stamp(at),
        }
        return signed_json(url, credentials, {"message": inner, "vars": {}, "envs": {}, "params": more})
    params = {
        "MessageSid": sid,
        "SmsSid": sid,
        "AccountSid": credentials.project_id,
        "From": sender,
        "To": recipient,
        "Body": body or "",
        "NumSegments": str(measure(body or "").segments),
        "ApiVersion": "2010-04-01",
        **wire.numbered(attached),
    }
    return signed(url, credentials, params | more, shape)


def report(
    url: str,
    credentials: SignalWireCredentials,
    *,
    sid: str,
    status: str,
    sender: str = "+14155550100",
    recipient: str = "+14155550123",
    body: str = "hi",
    error_code: int | str | None = None,
    error_message: str | None = None,
    at: datetime | None = None,
    shape: Literal["form", "get", "json", "native"] = "form",
    **more: str,
) -> Request:
    """What has become of the message ``sid`` that our number ``sender`` sent to ``recipient``."""
    code = None if error_code is None else str(error_code)
    if shape == "native":
        document = {
            "id": sid,
            "project_id": credentials.project_id,
            "status": status,
            "to": recipient,
            "from": sender,
            "body": body,
            "number_of_segments": measure(body).segments,
            "timestamp": _stamp(at),
            "error_code": code,
            "error_message": error_message,
            "custom_variables": more,
        }
        return signed_json(url, credentials, document)
    params = {
        "MessageSid": sid,
        "AccountSid": credentials.project_id,
        "MessageStatus": status,
        "From": sender,
        "To": recipient,
        "Body": body,
        "NumMedia": "0",
        "NumSegments": str(measure(body).segments),
        **({} if code is None else {"ErrorCode": code}),
        **({} if error_message is None else {"ErrorMessage": error_message}),
    }
    return signed(url, credentials, params | more, shape)


def signed(
    url: str,
    credentials: SignalWireCredentials,
    params: Mapping[str, str],
    shape: Literal["form", "get", "json"] = "form",
) -> Request:
    """Any cXML webhook with these parameters."""
    if shape == "json":
        return signed_json(url, credentials, params)
    if shape == "get":
        url = wire.with_query(url, params)
    suffix = "".join(name + params[name] for name in sorted(params)) if shape == "form" else ""
    digest = hmac.digest(credentials.signing_key.encode(), (_with_password(url, credentials) + suffix).encode(), "sha1")
    headers = _headers(credentials) | {"x-signalwire-signature": b64encode(digest).decode()}
    if shape == "get":
        return Request("GET", url, headers, b"")
    form = headers | {"content-type": "application/x-www-form-urlencoded"}
    return Request("POST", url, form, urlencode(params).encode())


def signed_json(url: str, credentials: SignalWireCredentials, document: Any, *, call: bool = False) -> Request:
    """Any JSON webhook; a call's is signed without the URL's password, and with SHA-256 as well."""
    body = msgspec.json.encode(document)
    key = credentials.signing_key.encode()
    message = (url if call else _with_password(url, credentials)).encode() + body
    headers = _headers(credentials) | {
        "content-type": wire.JSON,
        "x-signalwire-signature": hmac.new(key, message, hashlib.sha1).hexdigest(),
    }
    if call:
        headers["x-signalwire-sha256-signature"] = hmac.new(key, message, hashlib.sha256).hexdigest()
    return Request("POST", url, headers, body)


def _with_password(url: str, credentials: SignalWireCredentials) -> str:
    """The URL as it was configured; over the wire its user and password travel in a header."""
    scheme, _, rest = url.partition("://")
    if credentials.basic_user is None or "@" in rest.partition("/")[0]:
        return url
    return (
        f"{scheme}://{quote(credentials.basic_user, safe='')}:{quote(credentials.basic_password or '', safe='')}@{rest}"
    )


def _headers(credentials: SignalWireCredentials) -> dict[str, str]:
    if credentials.basic_user is None:
        return {"accept": "*/*"}
    pair = f"{credentials.basic_user}:{credentials.basic_password or ''}".encode()
    return {"accept": "*/*", "authorization": f"Basic {b64encode(pair).decode()}"}


def _stamp(at: datetime | None) -> str:
    return f"{(at or datetime.now(UTC)).astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
