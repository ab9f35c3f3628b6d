"""Where the providers say whether they know an account: Twilio, SignalWire's compatible API, SendGrid's scopes."""

import hmac
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from comms.simulators.wire import JSON

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


_ACCOUNT = re.compile(r"(/api/laml)?/2010-04-01/Accounts/[^/]+\.json|/v3/scopes")


class AccountServer:
    """An ASGI application that knows these accounts, by the credentials a connection holds.

    ``secrets`` are by provider, as they are typed into the API; ``statuses`` answers otherwise than with ``active``;
    what it does not know goes to ``otherwise``. ``asked`` lists the paths it was asked for.
    """

    def __init__(
        self, secrets: Mapping[str, Mapping[str, str]], *, prefix: str = "", otherwise: Application | None = None
    ) -> None:
        self.prefix = prefix
        self.otherwise = otherwise
        self.statuses: dict[str, str] = {}
        self.scopes = ["mail.send", "alerts.read"]
        self.asked: list[str] = []
        self._answers: dict[str, tuple[str, Callable[[], Any]]] = {}
        if twilio := secrets.get("twilio"):
            self._account("/2010-04-01/Accounts", twilio["accountSid"], twilio["authToken"])
        if (signalwire := secrets.get("signalwire")) and "apiToken" in signalwire:
            self._account("/api/laml/2010-04-01/Accounts", signalwire["projectId"], signalwire["apiToken"])
        if (sendgrid := secrets.get("sendgrid")) and "apiKey" in sendgrid:
            self._answers["/v3/scopes"] = (f"Bearer {sendgrid['apiKey']}", lambda: {"scopes": self.scopes})

    def _account(self, place: str, account: str, password: str) -> None:
        basic = "Basic " + b64encode(f"{account}:{password}".encode()).decode()
        self._answers[f"{place}/{account}.json"] = (
            basic,
            lambda: {"sid": account, "friendly_name": "Simulated", "status": self.statuses.get(account, "active")},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", "")).removeprefix(self.prefix)
        if self.otherwise is not None and not _ACCOUNT.fullmatch(path):
            await self.otherwise(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        self.asked.append(path)
        status, document = self._answer(path, dict(scope["headers"]).get(b"authorization", b""))
        body = msgspec.json.encode(document)
        headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str, authorization: bytes) -> tuple[int, Any]:
        expected, answer = self._answers.get(path, ("", dict))
        if not expected or not hmac.compare_digest(authorization, expected.encode()):
            return 401, {"code": 20003, "message": "Authenticate", "status": 401}
        return 200, answer()
