"""Messages over the REST API that Twilio named and SignalWire's compatibility API repeats.

A create is never repeated on a time-out: there is no idempotency key, so what is unclear is settled by listing what
went between the two numbers. https://www.twilio.com/docs/messaging/api/message-resource
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from comms.providers import codes, wire
from comms.providers.outgoing import Accepted, Answer, Busy, Call, Listed, Outgoing, Refused, Unclear
from comms.providers.parameters import status_of

PAGE = 50
LONGEST_WORDS = 300


class Account(msgspec.Struct, frozen=True):
    """Where an account's resources are, and how it proves itself."""

    place: str
    basic: tuple[str, str]

    def __repr__(self) -> str:
        return f"Account({self.place})"


AccountOf = Callable[[Any, Any], Account]
"""The account behind credentials, at a base address if one is given; ``Refused`` if they lack what it takes."""


class Messages:
    """How a provider of texts is told to send, and asked what it has."""

    def __init__(self, account_of: AccountOf) -> None:
        self._account_of = account_of

    def send(self, outgoing: Outgoing, credentials: Any, base: str | None) -> Call:
        """The request that creates the message."""
        account = self._account_of(credentials, base)
        form = [("To", outgoing.recipient), ("From", outgoing.sender)]
        if outgoing.content:
            form.append(("Body", outgoing.content))
        form += [("MediaUrl", item.url) for item in outgoing.media]
        if outgoing.callback is not None:
            form.append(("StatusCallback", outgoing.callback))
        return Call("POST", f"{account.place}/Messages.json", form=form, basic=account.basic)

    def accepted(self, answer: Answer) -> Accepted:
        """What the answer means; raises ``Refused``, ``Busy`` or ``Unclear``."""
        document = document_of(answer)
        if 200 <= answer.status < 300:
            return accepted_in(document)
        expect_success(answer, document)
        raise AssertionError(answer.status)

    def look(self, outgoing: Outgoing, credentials: Any, base: str | None) -> Call:
        """The request that lists the newest messages between the two numbers.

        Not by ``DateSent``: a message that the provider still has in its queue has none.
        """
        account = self._account_of(credentials, base)
        query = urlencode({"To": outgoing.recipient, "From": outgoing.sender, "PageSize": PAGE})
        return Call("GET", f"{account.place}/Messages.json?{query}", basic=account.basic)

    def listed(self, answer: Answer) -> list[Listed]:
        """The outbound messages in the answer, newest first; ``Unclear`` when it cannot be told now."""
        document = document_of(answer)
        rows = document.get("messages") if 200 <= answer.status < 300 else None
        if not isinstance(rows, list):
            raise Unclear(f"the provider answered {answer.status} when it was asked what it has")
        return [
            listed_in(row)
            for row in rows
            if isinstance(row, dict) and row.get("sid") and row.get("direction") != "inbound"
        ]


def resource(base: str, account: str) -> str:
    """The address of an account's resources."""
    return f"{base}/2010-04-01/Accounts/{quote(account, safe='')}"


def document_of(answer: Answer) -> Mapping[str, Any]:
    """The JSON object in the answer, an empty one if there is none."""
    try:
        document = msgspec.json.decode(answer.body)
    except msgspec.MsgspecError:
        return {}
    return document if isinstance(document, dict) else {}


def accepted_in(document: Mapping[str, Any]) -> Accepted:
    """The message the provider made; ``Unclear`` when a success does not say which."""
    sid = document.get("sid")
    if not isinstance(sid, str) or not sid:
        raise Unclear("the provider took it, and did not say under which id")
    code = _text(document.get("error_code"))
    return Accepted(
        provider_message_id=sid,
        status=status_of(str(document.get("status") or "")),
        segments=_number(document.get("num_segments")),
        error_code=code,
        error_message=_text(document.get("error_message")) or codes.words_of(code),
    )


def expect_success(answer: Answer, document: Mapping[str, Any]) -> None:
    """Nothing, for a success; else raises what the refusal means: ``Busy``, ``Unclear`` or ``Refused``."""
    if 200 <= answer.status < 300:
        return
    code = _code(document)
    if answer.status == 429 or code in codes.LATER:
        raise Busy(
            codes.words_of(code) or "The provider takes no more for the moment.", retry_after=_retry_after(answer)
        )
    if answer.status >= 500 or answer.status == 408:
        raise Unclear(f"the provider answered {answer.status}")
    if code is None and answer.status in (401, 403):
        code = "20003"
    words = codes.words_of(code) or _said(document) or f"The provider answered {answer.status}."
    is_of_connection = code in codes.OF_CONNECTION or answer.status in (401, 402, 403, 404) or answer.status < 400
    raise Refused(code, words, of_connection=is_of_connection and code != "21610")


def listed_in(row: Mapping[str, Any]) -> Listed:
    """One message of the provider's log."""
    return Listed(
        accepted=accepted_in(row),
        sender=str(row.get("from") or ""),
        recipient=str(row.get("to") or ""),
        content=str(row.get("body") or ""),
        at=wire.instant_of(row.get("date_created")),
    )


def _code(document: Mapping[str, Any]) -> str | None:
    """The error's code: ``code``, or that of the first of SignalWire's ``errors``."""
    errors = document.get("errors")
    if document.get("code") is None and isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return _text(errors[0].get("code"))
    return _text(document.get("code"))


def _said(document: Mapping[str, Any]) -> str | None:
    errors = document.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        document = errors[0]
    said = _text(document.get("message") or document.get("detail"))
    return None if said is None else said.replace("\x00", "")[:LONGEST_WORDS]


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _number(value: Any) -> int | None:
    text = _text(value)
    return int(text) if text and text.isdecimal() and len(text) < 5 and int(text) > 0 else None


def _retry_after(answer: Answer) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 6 else None
