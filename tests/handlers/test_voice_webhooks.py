"""Voice webhooks as the providers post them: what a caller hears, and what is kept."""

from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import httpx

from comms.directory import Connection
from comms.providers.base import Request
from comms.simulators import signalwire, twilio, wire
from tests.handlers.webhooks import CUSTOMER, post, rows, url_of
from tests.make.communications import OUR_NUMBER


def spoken(line: Connection, kind: str, *, sid: str, query: dict[str, Any] | None = None, **more: str) -> Request:
    """A signed voice webhook with the parameters of a call to our number."""
    url = url_of(line, kind) + (f"?{urlencode(query)}" if query else "")
    account = getattr(line.credentials, "account_sid", None) or line.credentials.project_id
    params = {
        "CallSid": sid,
        "AccountSid": account,
        "From": CUSTOMER,
        "To": OUR_NUMBER,
        "CallStatus": "ringing",
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
    } | more
    speak = twilio.signed if line.provider == "twilio" else signalwire.signed
    return speak(url, line.credentials, params)


def verbs(answer: httpx.Response) -> list[str]:
    """What the provider is told to do, in its order."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/xml"
    return [verb.tag for verb in ET.fromstring(answer.text)]


async def test_a_caller_of_a_number_without_a_flow_leaves_a_message(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    sid = wire.sid("CA")
    answer = await post(anonymous, spoken(line, "voice", sid=sid))
    assert verbs(answer) == ["Say", "Record"]
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["status"], call["from_address"], call["to_address"]) == ("ringing", CUSTOMER, OUR_NUMBER)
    sound = "https://api.twilio.com/2010-04-01/Accounts/AC/Recordings/RE1"
    left = {"RecordingUrl": sound, "RecordingDuration": "12", "CallStatus": "in-progress"}
    answer = await post(anonymous, spoken(line, "voice-message", sid=sid, query={"turn": 1}, **left))
    assert verbs(answer) == ["Say", "Hangup"]
    ended = spoken(line, "voice-status", sid=sid, CallStatus="completed", CallDuration="20", SequenceNumber="3")
    assert (await post(anonymous, ended)).status_code == 204
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["status"], call["outcome"], call["duration_seconds"]) == ("completed", "voicemail", 20)
    said = [message["content"] for message in await rows(admin, "conversation_messages", line.workspace_id)]
    assert said == ["Incoming call", "Voicemail, 0:12 min", "Missed call, with a message"]
    [attachment] = await rows(admin, "message_attachments", line.workspace_id)
    assert attachment["source_url"] == f"{sound}.mp3"
