"""What Twilio and SignalWire keep for themselves: their log of messages, and where each number's webhooks go."""

import hmac
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec

from comms.simulators import wire

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_NAMED = {
    "SmsUrl": "sms_url",
    "SmsMethod": "sms_method",
    "SmsFallbackUrl": "sms_fallback_url",
    "SmsFallbackMethod": "sms_fallback_method",
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
}
_RESOURCE = re.compile(
    r"(?P<place>(?:/api/laml)?/2010-04-01/Accounts/(?P<account>[^/]+))"
    r"/(?:(?P<list>Messages|IncomingPhoneNumbers)\.json|Messages/(?P<message>[^/]+)/Media\.json"
    r"|IncomingPhoneNumbers/(?P<number>[^/]+)\.json)"
)


class ArchiveServer:
    """An ASGI application that knows one account's messages and numbers; the rest goes to ``otherwise``.

    ``asked`` lists what it was asked for; while ``failing`` is a status, that is its answer.
    """

    def __init__(self, account: str, password: str, *, prefix: str = "", otherwise: Application | None = None) -> None:
        self.account = account
        self.prefix = prefix
        self.otherwise = otherwise
        self.messages: list[dict[str, Any]] = []
        self.media: dict[str, list[dict[str, str]]] = {}
        self.numbers: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.failing: int | None = None
        self._basic = b"Basic " + b64encode(f"{account}:{password}".encode())

    def keep(
        self,
        *,
        sender: str,
        recipient: str,
        at: datetime,
        body: str = "Hello",
        sid: str | None = None,
        direction: str = "inbound",
        status: str = "received",
        media: int = 0,
        error_code: int | None = None,
    ) -> str:
        """A message is in the log; its id."""
        sid = sid or wire.sid("MM" if media else "SM")
        self.media[sid] = [{"sid": wire.sid("ME"), "content_type": "image/png"} for _ in range(media)]
        message = {
            "sid": sid,
            "account_sid": self.account,
            "from": sender,
            "to": recipient,
            "body": body,
            "direction": direction,
            "status": status,
            "num_media": str(media),
            "num_segments": "1",
            "date_created": format_datetime(at),
            "date_sent": format_datetime(at),
            "error_code": error_code,
            "error_message": None,
            "messaging_service_sid": None,
        }
        self.messages.append({"at": at} | message)
        return sid

    def own(self, phone_number: str) -> dict[str, str]:
        """The number is the account's, and goes nowhere yet."""
        number = dict.fromkeys(_NAMED.values(), "") | {"sid": wire.sid("PN"), "phone_number": phone_number}
        self.numbers[number["sid"]] = number
        return number

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", "")).removeprefix(self.prefix)
        found = _RESOURCE.fullmatch(path)
        if found is None and self.otherwise is not None:
            await self.otherwise(scope, receive, send)
            return
        query = dict(parse_qsl(scope.get("query_string", b"").decode()))
        form = dict(parse_qsl((await _body(receive)).decode())) if scope.get("method") == "POST" else {}
        self.asked.append(path)
        authorization = dict(scope["headers"]).get(b"authorization", b"")
        status, document = self._answer(found, authorization, query, form)
        body = msgspec.json.encode(document)
        headers = [(b"content-type", wire.JSON.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(
        self, found: "re.Match[str] | None", authorization: bytes, query: dict[str, str], form: dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        if self.failing is not None:
            code = {401: 20003, 429: 20429}.get(self.failing, 20500)
            return self.failing, {"code": code, "message": "No", "status": self.failing}
        if found is None:
            return 404, {"code": 20404, "message": "The requested resource was not found", "status": 404}
        if found["account"] != self.account or not hmac.compare_digest(authorization, self._basic):
            return 401, {"code": 20003, "message": "Authenticate", "status": 401}
        if found["list"] == "Messages":
            return 200, self._page(found["place"], query)
        if found["message"] is not None:
            return 200, {"media_list": self.media.get(found["message"], [])}
        if found["list"] == "IncomingPhoneNumbers":
            rows = [row for row in self.numbers.values() if row["phone_number"] == query.get("PhoneNumber")]
            return 200, {"incoming_phone_numbers": rows}
        number = self.numbers.get(found["number"])
        if number is None:
            return 404, {"code": 20404, "message": "The requested resource was not found", "status": 404}
        number.update({_NAMED[name]: value for name, value in form.items() if name in _NAMED})
        return 200, dict(number)

    def _page(self, place: str, query: dict[str, str]) -> dict[str, Any]:
        """Newest first, as the providers list them."""
        rows = sorted(
            (
                row
                for row in self.messages
                if all(query.get(side) in (None, row[side.lower()]) for side in ("To", "From"))
            ),
            key=lambda row: row["at"],
            reverse=True,
        )
        size, page = int(query.get("PageSize", "50")), int(query.get("Page", "0"))
        shown = rows[page * size : (page + 1) * size]
        more = urlencode({**query, "Page": str(page + 1), "PageSize": str(size)})
        return {
            "messages": [{name: value for name, value in row.items() if name != "at"} for row in shown],
            "next_page_uri": f"{place}/Messages.json?{more}" if len(rows) > (page + 1) * size else None,
        }


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body
