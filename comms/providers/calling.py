"""Calls over the REST API that Twilio named and SignalWire's compatibility API repeats.

There is no idempotency key: a create whose answer was lost is looked for before anybody is dialled again.
https://www.twilio.com/docs/voice/api/call-resource, https://www.twilio.com/docs/voice/api/recording
"""

from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from comms.providers import signalwire, twilio, wire
from comms.providers.outgoing import Answer, Call, Refused, Unclear
from comms.providers.rest import Account, document_of, expect_success
from comms.providers.voice import status_of

PAGE = 50
EVENTS = ("initiated", "ringing", "answered", "completed")


class Placed(msgspec.Struct, frozen=True):
    """A call that the provider has; ``status`` is one of ours."""

    call_id: str
    status: str | None
    at: datetime | None = None
    seconds: int | None = None


def account_of(provider: str, credentials: Any, base: str | None) -> Account:
    """The account behind a connection's credentials; ``Refused`` if they lack what it takes."""
    if credentials is None:
        raise Refused(None, "The connection's secret does not open.")
    if provider == "twilio":
        return twilio.account_at(credentials, base or "https://api.twilio.com")
    return signalwire.account_at(credentials, base)


def create(account: Account, *, to: str, sender: str, url: str, callback: str, seconds: int) -> Call:
    """The request that dials ``to``; who picks up hears what ``url`` answers, and ``callback`` is told of it all."""
    form = [("To", to), ("From", sender), ("Url", url), ("Method", "POST"), ("Timeout", str(seconds))]
    form += [("StatusCallback", callback), ("StatusCallbackMethod", "POST")]
    form += [("StatusCallbackEvent", event) for event in EVENTS]
    return Call("POST", f"{account.place}/Calls.json", form=form, basic=account.basic)


def redirect(account: Account, call_id: str, url: str) -> Call:
    """The request after which a line does what ``url`` answers, instead of what it did."""
    form = [("Url", url), ("Method", "POST")]
    return Call("POST", _line(account, call_id), form=form, basic=account.basic)


def finish(account: Account, call_id: str) -> Call:
    """The request that ends a line, whether it rings or talks."""
    return Call("POST", _line(account, call_id), form=[("Status", "completed")], basic=account.basic)


def look(account: Account, *, to: str, sender: str) -> Call:
    """The request that lists the newest calls between two numbers."""
    query = urlencode({"To": to, "From": sender, "PageSize": PAGE})
    return Call("GET", f"{account.place}/Calls.json?{query}", basic=account.basic)


def pause(account: Account, call_id: str, recording_id: str, *, paused: bool) -> Call:
    """The request after which a recording goes on, or does not."""
    form = [("Status", "paused" if paused else "in-progress")]
    form += [("PauseBehavior", "silence")] if paused else []
    place = f"{_line(account, call_id).removesuffix('.json')}/Recordings/{quote(recording_id, safe='')}.json"
    return Call("POST", place, form=form, basic=account.basic)


def remove_queue(account: Account, queue_id: str) -> Call:
    """The request after which an empty queue is no more; a provider keeps each for ever."""
    return Call("DELETE", f"{account.place}/Queues/{quote(queue_id, safe='')}.json", basic=account.basic)


def placed(answer: Answer) -> Placed:
    """What the answer to one of these means; raises ``Refused``, ``Busy`` or ``Unclear``."""
    document = document_of(answer)
    expect_success(answer, document)
    return _placed(document)


def done(answer: Answer) -> None:
    """Nothing, if the provider did it; a line that is gone is as good as ended."""
    if answer.status != 404:
        expect_success(answer, document_of(answer))


def changed(answer: Answer) -> None:
    """Nothing, if the provider did it; ``Refused``, ``Busy`` or ``Unclear`` if not."""
    expect_success(answer, document_of(answer))


def listed(answer: Answer) -> list[Placed]:
    """The calls in the provider's log, newest first; ``Unclear`` when it cannot be told now."""
    rows = document_of(answer).get("calls") if 200 <= answer.status < 300 else None
    if not isinstance(rows, list):
        raise Unclear(f"the provider answered {answer.status} when it was asked what it has")
    return [_placed(row) for row in rows if isinstance(row, dict) and row.get("sid")]


def _placed(document: Any) -> Placed:
    call_id = document.get("sid")
    if not isinstance(call_id, str) or not call_id:
        raise Unclear("the provider took it, and did not say under which id")
    seconds = str(document.get("duration") or "")
    return Placed(
        call_id=call_id,
        status=status_of(str(document.get("status") or "")),
        at=wire.instant_of(document.get("date_created")),
        seconds=int(seconds) if seconds.isdecimal() and len(seconds) < 9 else None,
    )


def _line(account: Account, call_id: str) -> str:
    return f"{account.place}/Calls/{quote(call_id, safe='')}.json"
