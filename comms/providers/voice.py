"""The voice parameters that Twilio named and SignalWire's cXML repeats, read into our own words.

https://www.twilio.com/docs/voice/twiml#request-parameters, https://developer.signalwire.com/
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from comms.providers import wire
from comms.providers.addresses import read_address
from comms.providers.base import Address, Forged, Opened
from comms.providers.parameters import LONGEST_DETAIL, camel, count, people

STATUSES: Mapping[str, str] = {
    "queued": "queued",
    "initiated": "initiated",
    "ringing": "ringing",
    "in-progress": "in_progress",
    "answered": "in_progress",
    "completed": "completed",
    "busy": "busy",
    "no-answer": "no_answer",
    "failed": "failed",
    "canceled": "canceled",
}
"""Our status for each of the providers' words. SignalWire's ringing_forwarded and ringing_queued ring."""

_DETAILS = camel(
    "FromCity FromState FromZip FromCountry ToCity ToState ToZip ToCountry StirVerstat ApplicationSid SipDomain"
    " SipCallId ErrorCode ErrorUrl"
)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider says or asks about a line. What it did not say is empty or None.

    ``status`` is one of ours, ``reported`` the provider's word; ``sequence`` its count of reports, -1 without.
    """

    provider: str
    call_id: str
    account: str
    caller: Address
    called: Address
    reported: str = ""
    status: str | None = None
    parent_call_id: str | None = None
    direction: str = "inbound"
    sequence: int = -1
    at: datetime | None = None
    duration_seconds: int | None = None
    caller_name: str | None = None
    forwarded_from: str | None = None
    error_code: str | None = None
    digits: str = ""
    speech: str = ""
    dial_status: str | None = None
    dial_call_id: str | None = None
    dial_seconds: int | None = None
    was_bridged: bool | None = None
    detected: str | None = None
    queue_result: str | None = None
    queue_seconds: int | None = None
    queue_id: str | None = None
    recording: "ToldRecording | None" = None
    transcript: "ToldTranscript | None" = None
    conference: "ToldConference | None" = None
    session: "ToldSession | None" = None
    refer_status: str | None = None
    details: dict[str, Any] = {}


class ToldRecording(msgspec.Struct, frozen=True):
    """What is said of a recording; ``state`` is None where it is mentioned by the way."""

    id: str
    url: str
    state: str | None = None
    seconds: int | None = None
    channels: int | None = None
    source: str = ""


class ToldTranscript(msgspec.Struct, frozen=True):
    """What was understood of a recording."""

    recording_id: str
    text: str
    was_understood: bool


class ToldConference(msgspec.Struct, frozen=True):
    """What has happened in a conference."""

    id: str
    name: str
    event: str
    reason: str = ""


class ToldSession(msgspec.Struct, frozen=True):
    """How a relayed conversation with a machine has ended; ``handover`` is what it leaves to a person."""

    id: str
    status: str
    handover: str = ""


def told_in(provider: str, opened: Opened) -> Told:
    """The call in these parameters; ``Forged`` when one that is always sent is missing."""
    fields = wire.with_known_ids(wire.without_nul(opened.fields))
    call_id = fields.get("CallSid") or fields.get("CallSidEndingConference") or ""
    account = fields.get("AccountSid", "")
    if not account or not (call_id or fields.get("ConferenceSid")):
        raise Forged("a mandatory call parameter is missing")
    caller, called = people(fields.get("From", ""), fields.get("To", ""))
    reported = wire.known_as(fields.get("CallStatus", ""))
    return Told(
        provider=provider,
        call_id=call_id,
        account=account,
        caller=caller,
        called=_dialled(called),
        reported=reported,
        status=status_of(reported),
        parent_call_id=fields.get("ParentCallSid") or None,
        direction=fields.get("Direction") or "inbound",
        sequence=count(fields.get("SequenceNumber"), -1),
        at=wire.instant_of(fields.get("Timestamp", "")),
        duration_seconds=_seconds(fields.get("CallDuration")),
        caller_name=fields.get("CallerName") or None,
        forwarded_from=fields.get("ForwardedFrom") or None,
        error_code=_error(fields),
        digits=_keys(fields.get("Digits", "")),
        speech=fields.get("SpeechResult", "")[:LONGEST_DETAIL],
        dial_status=status_of(fields.get("DialCallStatus", "")),
        dial_call_id=fields.get("DialCallSid") or None,
        dial_seconds=_seconds(fields.get("DialCallDuration")),
        was_bridged=_boolean(fields.get("DialBridged")),
        detected=fields.get("AnsweredBy") or None,
        queue_result=fields.get("QueueResult") or None,
        queue_seconds=_seconds(fields.get("QueueTime")),
        queue_id=fields.get("QueueSid") or None,
        recording=_recording(fields),
        transcript=_transcript(fields),
        conference=_conference(fields),
        session=_session(fields),
        refer_status=fields.get("ReferCallStatus") or None,
        details={
            _DETAILS[name]: value[:LONGEST_DETAIL] for name, value in fields.items() if value and name in _DETAILS
        },
    )


def status_of(reported: str) -> str | None:
    """Our status for the provider's word, None for one we do not know."""
    word = reported.strip().lower()
    return STATUSES.get(word) or ("ringing" if word.startswith("ringing") else None)


def _dialled(called: Address) -> Address:
    """Of a SIP address at the provider, the number of ours that is its user."""
    if not called.raw.lower().startswith("sip:"):
        return called
    user = called.raw[4:].partition("@")[0]
    inner = read_address(user)
    return Address(inner.kind, inner.value, called.raw) if inner.is_identity else called


def _recording(fields: Mapping[str, str]) -> ToldRecording | None:
    url = fields.get("RecordingUrl", "")
    recording_id = wire.known_as(fields.get("RecordingSid") or url.rpartition("/")[2].partition(".")[0])
    if not recording_id:
        return None
    return ToldRecording(
        id=recording_id,
        url=url,
        state=fields["RecordingStatus"].replace("-", "_") if fields.get("RecordingStatus") else None,
        seconds=_seconds(fields.get("RecordingDuration")),
        channels=_seconds(fields.get("RecordingChannels")),
        source=fields.get("RecordingSource", ""),
    )


def _transcript(fields: Mapping[str, str]) -> ToldTranscript | None:
    if "TranscriptionStatus" not in fields or not fields.get("RecordingSid"):
        return None
    understood = fields["TranscriptionStatus"] == "completed"
    return ToldTranscript(fields["RecordingSid"], fields.get("TranscriptionText", "") if understood else "", understood)


def _conference(fields: Mapping[str, str]) -> ToldConference | None:
    if not fields.get("ConferenceSid") or not fields.get("StatusCallbackEvent"):
        return None
    reason = fields.get("ReasonConferenceEnded") or fields.get("ReasonParticipantLeft") or ""
    return ToldConference(
        fields["ConferenceSid"], fields.get("FriendlyName", ""), fields["StatusCallbackEvent"], reason
    )


def _session(fields: Mapping[str, str]) -> ToldSession | None:
    if not fields.get("SessionId") or not fields.get("SessionStatus"):
        return None
    return ToldSession(fields["SessionId"], fields["SessionStatus"], fields.get("HandoffData", "")[:LONGEST_DETAIL])


def _error(fields: Mapping[str, str]) -> str | None:
    sip = fields.get("SipResponseCode") or fields.get("SipResultCode") or ""
    return fields.get("ErrorCode") or (f"SIP {sip}" if sip and not sip.startswith("2") else None)


def _keys(digits: str) -> str:
    return digits if digits == "hangup" else "".join(key for key in digits if key in "0123456789*#")[:32]


def _seconds(text: str | None) -> int | None:
    return int(text) if text and len(text) < 9 and text.isascii() and text.isdigit() else None


def _boolean(text: str | None) -> bool | None:
    return {"true": True, "false": False}.get((text or "").lower())
