"""The provider's REST API for calls: made, listed, looked at, taken elsewhere, ended, and their recordings paused."""

from collections import deque
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from typing import Any, Literal

from comms.providers.signalwire import SignalWireCredentials
from comms.simulators.server import Asked, Reply, Route, basic, is_proven
from comms.simulators.telephone.lines import Line
from comms.simulators.telephone.switchboard import Switchboard

Fault = Literal["busy", "failing", "lost", "broken", "overloaded", "never", "refused"]
"""What may go wrong with a create. ``busy``: 429, not dialled. ``failing``: 500, not dialled. ``lost``: dialled, and
the answer never comes. ``broken``: dialled, and the connection breaks in the answer. ``overloaded``: 503, and dialled
all the same. ``never``: not dialled, and no answer comes. ``refused``: 400, not dialled.
"""


class CallsApi:
    """What a ``Switchboard`` answers over HTTP.

    ``faults`` are what happens to the next creates, one each; ``change_faults``, to the next that is done to a line.
    Whoever is told that it is busy is told to come back after ``retry_after`` seconds.
    """

    def __init__(self, switchboard: Switchboard) -> None:
        self.switchboard = switchboard
        self.faults: deque[Fault] = deque()
        self.change_faults: deque[Literal["busy", "refused"]] = deque()
        self.retry_after = 0
        self.creates = 0
        self.paused: list[tuple[str, str]] = []

    @property
    def routes(self) -> list[Route]:
        """What is answered."""
        root = self.root
        return [
            Route("POST", f"{root}/Calls.json", self.guarded(self._create)),
            Route("GET", f"{root}/Calls.json", self.guarded(self._list)),
            Route("POST", f"{root}/Calls/{{sid}}/Recordings/{{recording}}.json", self.guarded(self._pause)),
            Route("GET", f"{root}/Calls/{{sid}}.json", self.guarded(self._fetch)),
            Route("DELETE", f"{root}/Queues/{{sid}}.json", self.guarded(self._remove_queue)),
            Route("POST", f"{root}/Calls/{{sid}}.json", self.guarded(self._change)),
        ]

    @property
    def root(self) -> str:
        """Below what all of it is."""
        return ("" if self.switchboard.is_twilio else "/api/laml") + "/2010-04-01/Accounts/{account}"

    def guarded(self, answers: Callable[[Asked], Awaitable[Reply | None]]) -> Any:
        """The same answers, to whoever has the account's credentials."""

        async def guarded(asked: Asked) -> Reply | None:
            known: Any = self.switchboard.credentials
            password = known.api_token if isinstance(known, SignalWireCredentials) else known.auth_token
            proof = basic(self.switchboard.account, password or "")
            if asked.named["account"] != self.switchboard.account or not password or not is_proven(asked, proof):
                return Reply(401, {"code": 20003, "message": "Authenticate", "status": 401})
            return await answers(asked)

        return guarded

    async def _create(self, asked: Asked) -> Reply | None:
        self.creates += 1
        fault = self.faults.popleft() if self.faults else None
        if fault == "busy":
            return self._busy()
        if fault == "failing":
            return Reply(500, {"code": 20500, "message": "Internal Server Error", "status": 500})
        if fault == "refused":
            return Reply(400, {"code": 21211, "message": "The 'To' number is not a valid phone number.", "status": 400})
        if fault == "never":
            return None
        form = asked.form
        if not form.get("To") or not form.get("From") or not form.get("Url"):
            return Reply(400, {"code": 21201, "message": "No 'To' number is specified", "status": 400})
        line = self.switchboard.dial(
            form["From"], form["To"], form["Url"], form.get("StatusCallback"), float(form.get("Timeout", "60"))
        )
        match fault:
            case "lost":
                return None
            case "overloaded":
                return Reply(503, {})
        return Reply(201, self._document(line), broken=fault == "broken")

    async def _list(self, asked: Asked) -> Reply:
        wanted = asked.query
        there = [
            line
            for line in reversed(list(self.switchboard.lines.values()))
            if wanted.get("To", line.to) == line.to and wanted.get("From", line.sender) == line.sender
        ]
        return Reply(200, {"calls": [self._document(line) for line in there[:50]], "next_page_uri": None})

    async def _fetch(self, asked: Asked) -> Reply:
        line = self.switchboard.lines.get(asked.named["sid"])
        return _missing() if line is None else Reply(200, self._document(line))

    async def _change(self, asked: Asked) -> Reply:
        line = self.switchboard.lines.get(asked.named["sid"])
        if line is None:
            return _missing()
        fault = self.change_faults.popleft() if self.change_faults else None
        if fault == "busy":
            return self._busy()
        if line.is_over or fault == "refused":
            return Reply(400, {"code": 21220, "message": "Call is not in-progress. Cannot redirect.", "status": 400})
        if asked.form.get("Status") in ("completed", "canceled"):
            self.switchboard.hang_up(line, "completed" if line.status == "in-progress" else "canceled")
        elif asked.form.get("Url"):
            self.switchboard.go(line, asked.form["Url"])
        return Reply(200, self._document(line))

    async def _pause(self, asked: Asked) -> Reply:
        if self.switchboard.recordings.get(asked.named["recording"]) != asked.named["sid"]:
            return _missing()
        self.paused.append((asked.named["recording"], asked.form.get("Status", "")))
        return Reply(200, {"sid": asked.named["recording"], "status": asked.form.get("Status")})

    async def _remove_queue(self, asked: Asked) -> Reply:
        board = self.switchboard
        name = next((name for name, sid in board.queue_sids.items() if sid == asked.named["sid"]), None)
        if name is None:
            return _missing()
        if board.queues.get(name):
            return Reply(400, {"code": 22000, "message": "The queue is not empty", "status": 400})
        del board.queue_sids[name]
        return Reply(204, {})

    def _busy(self) -> Reply:
        document = {"code": 20429, "message": "Too Many Requests", "status": 429}
        return Reply(429, document, headers={"retry-after": str(self.retry_after)})

    def _document(self, line: Line) -> dict[str, Any]:
        return {
            "sid": line.sid,
            "account_sid": self.switchboard.account,
            "from": line.sender,
            "to": line.to,
            "status": line.status,
            "direction": line.direction,
            "parent_call_sid": line.parent,
            "date_created": format_datetime(line.at),
            "duration": "10" if line.is_over else None,
        }


def _missing() -> Reply:
    return Reply(404, {"code": 20404, "message": "The requested resource was not found", "status": 404})
