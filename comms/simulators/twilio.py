"""Twilio's side of the wire: webhooks with its parameters and its headers, signed as it signs them."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal
from urllib.parse import urlencode

from twilio.request_validator import RequestValidator

from comms.providers.addresses import region_of
from comms.providers.base import Channel, MediaItem, Request
from comms.providers.segments import measure
from comms.providers.twilio import TwilioCredentials
from comms.simulators import wire

_PREFIXES = {Channel.WHATSAPP: "whatsapp:", Channel.SOCIAL: "messenger:"}


def message(
    url: str,
    credentials: TwilioCredentials,
    *,
    sender: str,
    recipient: str,
    body: str = "Hello, is the 3pm slot still open?",
    media: Sequence[MediaItem | str] = (),
    sid: str | None = None,
    channel: Channel = Channel.SMS,
    method: str = "POST",
    **more: str,
) -> Request:
    """A text from ``sender`` to our number ``recipient``; ``more`` are further parameters under Twilio's names."""
    attached = wire.items(media)
    sid = sid or wire.sid("MM" if attached else "SM")
    params = {
        "SmsMessageSid": sid,
        "SmsSid": sid,
        "MessageSid": sid,
        "AccountSid": credentials.account_sid,
        "SmsStatus": "received",
        "ApiVersion": "2010-04-01",
        "From": _prefixed(channel, sender),
        "To": _prefixed(channel, recipient),
        "Body": body,
        "NumSegments": str(max(measure(body).segments, len(attached))),
        **wire.numbered(attached),
        **(_places(sender, recipient) if channel is Channel.SMS else {}),
        **(_profile(sender) if channel is Channel.WHATSAPP else {}),
    }
    return signed(url, credentials, params | more, method)


def report(
    url: str,
    credentials: TwilioCredentials,
    *,
    sid: str,
    status: str,
    sender: str = "+14155550100",
    recipient: str = "+14155550123",
    error_code: int | str | None = None,
    at: datetime | None = None,
    channel: Channel = Channel.SMS,
    method: str = "POST",
    **more: str,
) -> Request:
    """What has become of the message ``sid`` that our number ``sender`` sent to ``recipient``."""
    params = {
        "MessageSid": sid,
        "SmsSid": sid,
        "MessageStatus": status,
        "SmsStatus": status,
        "AccountSid": credentials.account_sid,
        "From": _prefixed(channel, sender),
        "To": _prefixed(channel, recipient),
        "ApiVersion": "2010-04-01",
    }
    if error_code is not None:
        params["ErrorCode"] = str(error_code)
    if at is not None:
        params["RawDlrDoneDate"] = f"{at.astimezone(UTC):%y%m%d%H%M}"
    if channel is not Channel.SMS:
        params |= {"ChannelPrefix": _PREFIXES[channel].rstrip(":"), "ChannelToAddress": recipient}
        params |= {"EventType": "READ"} if status == "read" else {}
    return signed(url, credentials, params | more, method)


def signed(url: str, credentials: TwilioCredentials, params: Mapping[str, str], method: str = "POST") -> Request:
    """Any webhook with these parameters, by POST as a form or by GET in the query."""
    if method == "GET":
        url = wire.with_query(url, params)
        return Request("GET", url, _headers(_signature(credentials.auth_token, url)), b"")
    headers = _headers(_signature(credentials.auth_token, url, params)) | {"content-type": wire.FORM}
    return Request("POST", url, headers, urlencode(params).encode())


def signed_json(url: str, credentials: TwilioCredentials, body: bytes) -> Request:
    """A webhook that carries JSON: the URL is signed, and in it the body's hash."""
    url = wire.with_query(url, {"bodySHA256": hashlib.sha256(body).hexdigest()})
    headers = _headers(_signature(credentials.auth_token, url)) | {"content-type": wire.JSON}
    return Request("POST", url, headers, body)


def signed_with_shared_key(url: str, credentials: TwilioCredentials, params: Mapping[str, str], key_id: str) -> Request:
    """A form signed with one of the shared keys instead of the account's token."""
    key = credentials.shared_keys[key_id]
    headers = _headers(_signature(key.secret, url, params, key.algorithm)) | {
        "content-type": wire.FORM,
        "x-twilio-webhooks-signature-settings": f"key={key_id},algorithm={key.algorithm}",
    }
    return Request("POST", url, headers, urlencode(params).encode())


def handshake(url: str, credentials: TwilioCredentials) -> Request:
    """The upgrade request of a media stream or a relay; ``url`` begins with ``wss://``."""
    upgrade = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": b64encode(hashlib.md5(url.encode()).digest()).decode(),
    }
    return Request("GET", url, _headers(_signature(credentials.auth_token, url)) | upgrade, b"")


def media_url(credentials: TwilioCredentials, message_sid: str, base: str = "https://api.twilio.com") -> str:
    """Where Twilio keeps an item of a message, behind the account's password."""
    account = credentials.account_sid
    return f"{base}/2010-04-01/Accounts/{account}/Messages/{message_sid}/Media/{wire.sid('ME')}"


def _signature(
    secret: str,
    url: str,
    params: Mapping[str, str] | None = None,
    algorithm: Literal["HMAC_SHA1", "HMAC_SHA256"] = "HMAC_SHA1",
) -> str:
    return str(RequestValidator(secret).compute_signature(url, params or {}, algorithm))


def _headers(signature: str) -> dict[str, str]:
    return {
        "user-agent": "TwilioProxy/1.1",
        "accept": "*/*",
        "x-twilio-signature": signature,
        "i-twilio-idempotency-token": wire.uuid(),
    }


def _prefixed(channel: Channel, address: str) -> str:
    return address if ":" in address else _PREFIXES.get(channel, "") + address


def _profile(sender: str) -> dict[str, str]:
    return {"ProfileName": "Zoë 张", "WaId": sender.removeprefix("whatsapp:").removeprefix("+"), "MessageType": "text"}


def _places(sender: str, recipient: str) -> dict[str, str]:
    """Where both numbers are from, as far as Twilio tells: often blank."""
    return {
        f"{side}{part}": value
        for side, number in (("From", sender), ("To", recipient))
        for part, value in zip(("City", "State", "Zip", "Country"), _place(number), strict=True)
    }


def _place(number: str) -> tuple[str, str, str, str]:
    if number.startswith("+1415"):
        return "SAN FRANCISCO", "CA", "94105", "US"
    return "", "", "", (region_of(number) or "") if number.startswith("+") else ""
