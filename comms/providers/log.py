"""A provider's own log: asked over REST, for webhooks may be lost.

    https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources

SignalWire's compatibility API repeats it. Its lists are newest first, so whoever reads them stops at what is old.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from comms.providers.base import DeliveryReport, MediaItem
from comms.providers.outgoing import Answer, Call, Unclear
from comms.providers.parameters import MOST_MEDIA, status_of
from comms.providers.rest import Account, document_of, expect_success
from comms.providers.wire import instant_of

PAGE = 100
FORM = "application/x-www-form-urlencoded"


class Logged(msgspec.Struct, frozen=True):
    """One message of a provider's log; addresses are as the wire writes them."""

    sid: str
    account: str
    sender: str
    recipient: str
    content: str
    is_inbound: bool
    reported: str
    at: datetime | None
    media: int = 0
    segments: str = "1"
    error_code: str | None = None
    error_message: str | None = None
    service_sid: str | None = None

    def as_webhook(self, media: Sequence[MediaItem]) -> bytes:
        """The form that a webhook of this message would have carried: read by the same dialect, now and on a replay."""
        fields = {
            "MessageSid": self.sid,
            "AccountSid": self.account,
            "From": self.sender,
            "To": self.recipient,
            "Body": self.content,
            "NumSegments": self.segments,
            "NumMedia": str(self.media),
            **({} if self.service_sid is None else {"MessagingServiceSid": self.service_sid}),
        }
        for place, item in enumerate(media):
            fields[f"MediaUrl{place}"] = item.url
            if item.content_type is not None:
                fields[f"MediaContentType{place}"] = item.content_type
        return urlencode(fields).encode()

    def as_report(self) -> bytes:
        """The form that a delivery report of this message would have carried."""
        fields = {
            "MessageSid": self.sid,
            "MessageStatus": self.reported,
            "AccountSid": self.account,
            "From": self.sender,
            "To": self.recipient,
            **({} if self.error_code is None else {"ErrorCode": self.error_code}),
            **({} if self.error_message is None else {"ErrorMessage": self.error_message}),
            **({} if self.service_sid is None else {"MessagingServiceSid": self.service_sid}),
        }
        return urlencode(fields).encode()

    def report(self, provider: str) -> DeliveryReport:
        """What has become of a message we sent."""
        return DeliveryReport(
            provider=provider,
            provider_message_id=self.sid,
            account=self.account,
            reported=self.reported,
            status=status_of(self.reported),
            error_code=self.error_code,
            error_message=self.error_message,
            details={
                "from": self.sender,
                "to": self.recipient,
                **({} if self.service_sid is None else {"messagingServiceSid": self.service_sid}),
            },
        )


class Page(msgspec.Struct, frozen=True):
    """Some of a log, newest first, and the query of what comes after, if anything does."""

    rows: list[Logged]
    after: str | None


def messages(account: Account, side: Literal["To", "From"], number: str, after: str | None = None) -> Call:
    """The request for the messages to, or from, a number of ours; ``after`` is what the page before says."""
    query = after or urlencode({side: number, "PageSize": PAGE})
    return Call("GET", f"{account.place}/Messages.json?{query}", basic=account.basic)


def messages_in(answer: Answer) -> Page:
    """What its answer shows; raises as ``expect_success`` does, and ``Unclear`` for what is no list."""
    document = listing_of(answer, "messages")
    rows = [_logged(row) for row in document["messages"] if isinstance(row, dict) and text_of(row.get("sid"))]
    return Page(rows, _after(document))


def message(account: Account, sid: str) -> Call:
    """The request for one message."""
    return Call("GET", f"{_message(account, sid)}.json", basic=account.basic)


def message_in(answer: Answer) -> Logged | None:
    """What its answer shows; None when the provider does not have it (any more)."""
    row = _one(answer)
    return None if row is None else _logged(row)


def media(account: Account, sid: str) -> Call:
    """The request for what is attached to a message."""
    return Call("GET", f"{_message(account, sid)}/Media.json", basic=account.basic)


def media_in(answer: Answer, account: Account, sid: str) -> list[MediaItem]:
    """Where the attachments are, as its answer shows."""
    rows = listing_of(answer, "media_list")["media_list"]
    return [
        MediaItem(f"{_message(account, sid)}/Media/{quote(str(row['sid']), safe='')}", text_of(row.get("content_type")))
        for row in rows[:MOST_MEDIA]
        if isinstance(row, dict) and text_of(row.get("sid"))
    ]


class LoggedCall(msgspec.Struct, frozen=True):
    """One call of a provider's log; ``direction`` and ``reported`` in its words."""

    sid: str
    account: str
    sender: str
    recipient: str
    direction: str
    reported: str
    at: datetime | None
    ended_at: datetime | None
    seconds: str
    parent_sid: str | None

    def as_webhook(self) -> bytes:
        """The form that its last status callback would have carried."""
        fields = {
            "CallSid": self.sid,
            "AccountSid": self.account,
            "From": self.sender,
            "To": self.recipient,
            "Direction": self.direction,
            "CallStatus": self.reported,
            "CallDuration": self.seconds,
            **({} if self.parent_sid is None else {"ParentCallSid": self.parent_sid}),
            **({} if self.ended_at is None else {"Timestamp": format_datetime(self.ended_at)}),
        }
        return urlencode(fields).encode()


class CallPage(msgspec.Struct, frozen=True):
    """Some of a log of calls, newest first, and the query of what comes after, if anything does."""

    rows: list[LoggedCall]
    after: str | None


def calls(account: Account, side: Literal["To", "From"], number: str, after: str | None = None) -> Call:
    """The request for the calls to, or from, a number of ours; ``after`` is what the page before says."""
    query = after or urlencode({side: number, "PageSize": PAGE})
    return Call("GET", f"{account.place}/Calls.json?{query}", basic=account.basic)


def calls_in(answer: Answer) -> CallPage:
    """What its answer shows; raises as ``messages_in`` does."""
    document = listing_of(answer, "calls")
    rows = [_logged_call(row) for row in document["calls"] if isinstance(row, dict) and text_of(row.get("sid"))]
    return CallPage(rows, _after(document))


def call(account: Account, sid: str) -> Call:
    """The request for one call."""
    return Call("GET", f"{account.place}/Calls/{quote(sid, safe='')}.json", basic=account.basic)


def call_in(answer: Answer) -> LoggedCall | None:
    """What its answer shows; None when the provider does not have it (any more)."""
    row = _one(answer)
    return None if row is None else _logged_call(row)


def listing_of(answer: Answer, name: str) -> Mapping[str, Any]:
    """The document in a list's answer; raises as ``expect_success`` does, and ``Unclear`` for what is no list."""
    document = document_of(answer)
    expect_success(answer, document)
    if not isinstance(document.get(name), list):
        raise Unclear(f"the provider answered something that has no {name}")
    return document


def _one(answer: Answer) -> Mapping[str, Any] | None:
    document = document_of(answer)
    if answer.status == 404:
        return None
    expect_success(answer, document)
    if not text_of(document.get("sid")):
        raise Unclear("the provider answered something that has no sid")
    return document


def _after(document: Mapping[str, Any]) -> str | None:
    """The query of the next page, and no more of its address: the account's token goes only where we have asked."""
    following = document.get("next_page_uri")
    return (following.partition("?")[2] or None) if isinstance(following, str) else None


def _message(account: Account, sid: str) -> str:
    return f"{account.place}/Messages/{quote(sid, safe='')}"


def _logged(row: Mapping[str, Any]) -> Logged:
    media_count = text_of(row.get("num_media")) or "0"
    return Logged(
        sid=str(row["sid"]),
        account=text_of(row.get("account_sid")) or "",
        sender=text_of(row.get("from")) or "",
        recipient=text_of(row.get("to")) or "",
        content=text_of(row.get("body")) or "",
        is_inbound=row.get("direction") == "inbound",
        reported=text_of(row.get("status")) or "",
        at=instant_of(row.get("date_sent")) or instant_of(row.get("date_created")),
        media=int(media_count) if media_count.isdecimal() and len(media_count) < 4 else 0,
        segments=text_of(row.get("num_segments")) or "1",
        error_code=text_of(row.get("error_code")),
        error_message=text_of(row.get("error_message")),
        service_sid=text_of(row.get("messaging_service_sid")),
    )


def _logged_call(row: Mapping[str, Any]) -> LoggedCall:
    return LoggedCall(
        sid=str(row["sid"]),
        account=text_of(row.get("account_sid")) or "",
        sender=text_of(row.get("from")) or "",
        recipient=text_of(row.get("to")) or "",
        direction=text_of(row.get("direction")) or "",
        reported=text_of(row.get("status")) or "",
        at=instant_of(row.get("start_time")) or instant_of(row.get("date_created")),
        ended_at=instant_of(row.get("end_time")),
        seconds=text_of(row.get("duration")) or "0",
        parent_sid=text_of(row.get("parent_call_sid")),
    )


def text_of(value: Any) -> str | None:
    """What stands in a field of a provider's answer, None for nothing."""
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None
