"""The message parameters that Twilio named and SignalWire's cXML repeats, read into our own words."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from comms.providers import wire
from comms.providers.addresses import read_address, region_of
from comms.providers.base import (
    Address,
    AddressKind,
    Channel,
    DeliveryReport,
    Forged,
    InboundMessage,
    MediaItem,
    Unreadable,
)

MOST_MEDIA = 40  # providers send ten; what is beyond is counted
LONGEST_DETAIL = 2000
LONGEST_JSON_DETAIL = 16_000

# An RCS sender is an agent, not one of our phone numbers: answered over SMS the reply would come from a stranger,
# so RCS is a channel of its own kind beside Messenger, and not SMS.
_CHANNELS = {"whatsapp": Channel.WHATSAPP, "messenger": Channel.SOCIAL, "rcs": Channel.SOCIAL}

# fmt: off
_STATUSES = {status: status for status in (
    "scheduled", "accepted", "queued", "sending", "sent", "delivered", "undelivered", "failed", "canceled", "read",
    "partially_delivered", "receiving", "received",
)} | {"initiated": "sending"}  # SignalWire's word
# fmt: on


def camel(names: str) -> dict[str, str]:
    """Our names of a provider's parameters: ``FromCity`` is ``fromCity``."""
    return {name: name[0].lower() + name[1:] for name in names.split()}


_DETAILS = camel(
    "FromCity FromState FromZip FromCountry ToCity ToState ToZip ToCountry MessagingServiceSid OptOutType "
    "WaId Forwarded FrequentlyForwarded ButtonText ButtonPayload ButtonType ListId ListTitle MessageType "
    "Latitude Longitude Address Label OriginalRepliedMessageSid OriginalRepliedMessageSender "
    "ReferralBody ReferralHeadline ReferralSourceId ReferralSourceType ReferralSourceUrl ReferralMediaId "
    "ReferralMediaContentType ReferralMediaUrl ReferralNumMedia ReferralCtwaClid ErrorCode ErrorUrl"
)
_JSON_DETAILS = camel("AddOns ChannelMetadata InteractiveData FlowData")
_REPORT_DETAILS = camel(
    "From To MessagingServiceSid NumSegments EventType ChannelInstallSid ChannelPrefix ChannelToAddress "
    "ChannelStatusMessage RawDlrDoneDate"
)


def message_in(provider: str, fields: Mapping[str, str]) -> InboundMessage:
    """The inbound message in these parameters; ``Forged`` when one that is always sent is missing."""
    fields = wire.without_nul(fields)
    sid = fields.get("MessageSid") or fields.get("SmsMessageSid") or fields.get("SmsSid")
    account = fields.get("AccountSid")
    if not sid or not account or not ("From" in fields and "To" in fields and _has_its_words(fields)):
        raise Forged("a mandatory message parameter is missing")  # a shifted boundary verifies too
    sender, recipient = people(fields["From"], fields["To"])
    body = fields.get("Body", "")
    return InboundMessage(
        provider=provider,
        provider_message_id=wire.known_as(sid),
        account=account,
        channel=channel_of(fields["From"], fields["To"]),
        sender=sender,
        recipient=recipient,
        content=body if body.strip() else fields.get("ButtonText") or body,
        media=_media(fields),
        media_announced=count(fields.get("NumMedia"), 0),
        segments=count(fields.get("NumSegments"), 1) or 1,
        sender_name=fields.get("ProfileName") or None,
        details=_details(fields),
    )


def report_in(provider: str, fields: Mapping[str, str]) -> DeliveryReport:
    """The delivery report in these parameters; ``Forged`` without a message id or a status."""
    fields = wire.without_nul(fields)
    sid = fields.get("MessageSid") or fields.get("SmsSid")
    reported = fields.get("MessageStatus") or fields.get("SmsStatus")
    if not sid or not reported:
        raise Forged("a mandatory status parameter is missing")
    return DeliveryReport(
        provider=provider,
        provider_message_id=wire.known_as(sid),
        account=fields.get("AccountSid", ""),
        reported=wire.known_as(reported),
        status=status_of(reported),
        error_code=fields.get("ErrorCode") or None,
        error_message=fields.get("ErrorMessage") or fields.get("ChannelStatusMessage") or None,
        at=_done_at(fields.get("RawDlrDoneDate", "")),
        details={
            _REPORT_DETAILS[name]: value[:LONGEST_DETAIL]
            for name, value in fields.items()
            if value and name in _REPORT_DETAILS
        },
    )


def _has_its_words(fields: Mapping[str, str]) -> bool:
    """Whether nobody has taken the text away: a message may have come without one, but a delivery report is none.

    Names and values are signed as one text, so of a body that was shifted into another field the name is still there.
    """
    if "Body" in fields:
        return True
    return "MessageStatus" not in fields and "Body" not in "".join(chain.from_iterable(sorted(fields.items())))


def people(sender: str, recipient: str) -> tuple[Address, Address]:
    """Both ends of a message; a sender in national form is read as one who lives where our number does."""
    to, who = read_address(recipient), read_address(sender)
    if who.kind is AddressKind.RAW and to.kind is AddressKind.PHONE:
        who = read_address(sender, region_of(to.value))
    return who, to


def channel_of(sender: str, recipient: str) -> Channel:
    """The channel in the prefix, which both addresses share; SMS when there is none."""
    if ":" not in sender and ":" not in recipient:
        return Channel.SMS
    prefixes = (text.partition(":")[0].strip().lower() for text in (sender, recipient) if ":" in text)
    return next((_CHANNELS[prefix] for prefix in prefixes if prefix in _CHANNELS), Channel.SMS)


def status_of(reported: str) -> str | None:
    """Our status for the provider's word, None for a word we do not know."""
    return _STATUSES.get(reported.strip().lower())


def count(text: str | None, otherwise: int) -> int:
    """A small number as a provider writes it; anything else is ``otherwise``."""
    return int(text) if text and len(text) < 5 and text.isascii() and text.isdigit() else otherwise


def _media(fields: Mapping[str, str]) -> tuple[MediaItem, ...]:
    """What is present: an index may be missing although the count includes it."""
    if fields.get("NumMedia", "0") == "0" and "MediaUrl0" not in fields:
        return ()
    return tuple(
        MediaItem(url, fields.get(f"MediaContentType{index}") or None)
        for index in range(MOST_MEDIA)
        if (url := fields.get(f"MediaUrl{index}"))
    )


def _details(fields: Mapping[str, str]) -> dict[str, Any]:
    details: dict[str, Any] = {}
    for name, value in fields.items():
        if not value:
            continue
        if name in _DETAILS:
            details[_DETAILS[name]] = value[:LONGEST_DETAIL]
        elif name in _JSON_DETAILS:
            details[_JSON_DETAILS[name]] = _json_detail(value)
    return details


def _json_detail(text: str) -> Any:
    """JSON inside one form field, parsed if it parses and is not out of proportion."""
    if len(text) > LONGEST_JSON_DETAIL:
        return text[:LONGEST_DETAIL]
    try:
        return wire.json_of(text.encode())
    except Unreadable:
        return text[:LONGEST_DETAIL]


def _done_at(text: str) -> datetime | None:
    """``RawDlrDoneDate`` is YYMMDDhhmm in UTC."""
    try:
        return datetime.strptime(text, "%y%m%d%H%M").replace(tzinfo=UTC) if text else None
    except ValueError:
        return None
