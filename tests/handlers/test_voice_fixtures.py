"""Every golden voice request is read into the right story: signed anew for our addresses, otherwise as it came."""

import json
from typing import Any
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

import httpx
import pytest

from comms.directory import Connection
from comms.providers.base import Request
from comms.service import Service
from comms.simulators import signalwire, twilio
from tests.comms.providers.golden import FIXTURES, fixture, names
from tests.handlers.webhooks import post, rows, url_of
from tests.make import communications as make

KINDS = {
    "voice_inbound": "voice",
    "voice_inbound_anonymous": "voice",
    "voice_inbound_anonymous_text": "voice",
    "voice_inbound_client": "voice",
    "voice_inbound_forwarded": "voice",
    "voice_inbound_sip": "voice",
    "voice_fallback": "voice-fallback",
    "voice_dial_action": "voice-dial",
    "voice_dial_action_completed": "voice-dial",
    "voice_enqueue_action": "voice-queue",
    "voice_refer_action": "voice-refer",
    "voice_relay_action_ended": "voice-relay",
    "voice_relay_action_failed": "voice-relay",
    "voice_amd_async": "voice-amd",
    "voice_conference_end": "voice-conference",
    "voice_conference_join": "voice-conference",
    "voice_conference_leave": "voice-conference",
    "voice_status_busy": "voice-status",
    "voice_status_failed": "voice-status",
    "voice_status_in_progress": "voice-status",
    "voice_status_no_answer": "voice-status",
}
"""Where the provider is told to post each of them."""


def golden(provider: str, kind: str) -> dict[str, str]:
    return dict(parse_qsl(fixture(provider, kind)["body"], keep_blank_values=True))


def signed(line: Connection, kind: str, params: dict[str, str], query: str = "") -> Request:
    speak = twilio.signed if line.provider == "twilio" else signalwire.signed
    return speak(url_of(line, kind) + query, line.credentials, params)


def verbs(answer: httpx.Response) -> list[str]:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml"), answer.text
    return [verb.tag for verb in ET.fromstring(answer.text)]


@pytest.fixture
async def sw(service: Service, line: Connection) -> Connection:
    """A SignalWire connection of the same workspace."""
    return await make.connection(service, line.workspace_id, "signalwire")


def test_there_is_a_story_for_every_voice_fixture() -> None:
    assert {name for provider in ("twilio", "signalwire") for name in names(provider) if "voice" in name} == set(KINDS)
    assert FIXTURES.is_dir()


@pytest.mark.parametrize(
    ("kind", "caller", "is_known", "more"),
    [
        ("voice_inbound", "+14155550123", True, {"caller_name": None, "forwarded_from": None}),
        ("voice_inbound_anonymous", "+266696687", False, {}),
        ("voice_inbound_anonymous_text", "anonymous", False, {}),
        (
            "voice_inbound_forwarded",
            "+14155550123",
            True,
            {"caller_name": "DOE JANE", "forwarded_from": "+14155550199"},
        ),
        ("voice_inbound_sip", "sip:alice@example.sip.twilio.com", False, {"to_address": "+14155550100"}),
    ],
)
async def test_who_calls_is_a_contact_unless_they_withhold_who_they_are(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any, kind: str, caller: str, is_known: bool, more: Any
) -> None:
    request = signed(line, "voice", golden("twilio", kind))
    assert verbs(await post(anonymous, request)) == ["Say", "Record", "Hangup"]
    assert verbs(await post(anonymous, request)) == ["Say", "Record", "Hangup"]  # it is repeated, and is one call
    [call] = await rows(admin, "calls", line.workspace_id)
    assert (call["from_address"], call["status"], call["contact_id"] is not None) == (caller, "ringing", is_known)
    assert {name: call[name] for name in more} == more
    assert len(await rows(admin, "contacts", line.workspace_id)) == is_known
    [receipt] = await rows(admin, "webhook_receipts", line.workspace_id)
    assert (receipt["kind"], receipt["state"]) == ("voice", "processed")


async def test_two_who_withhold_who_they_are_are_not_one(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    for kind in ("voice_inbound_anonymous", "voice_inbound_anonymous_text"):
        await post(anonymous, signed(line, "voice", golden("twilio", kind)))
    calls = await rows(admin, "calls", line.workspace_id)
    assert len({call["conversation_id"] for call in calls}) == 2


async def test_signalwire_calls_are_the_same(sw: Connection, anonymous: httpx.AsyncClient, admin: Any) -> None:
    assert verbs(await post(anonymous, signed(sw, "voice", golden("signalwire", "voice_inbound")))) == [
        "Say",
        "Record",
        "Hangup",
    ]
    # Its <Dial> is over although nothing rang: nobody answered, and a message is taken.
    over = signed(sw, "voice-dial", golden("signalwire", "voice_dial_action"), "?turn=1")
    assert verbs(await post(anonymous, over)) == ["Say", "Record", "Hangup"]
    [call] = await rows(admin, "calls", sw.workspace_id)
    assert (call["provider"], call["status"]) == ("signalwire", "ringing")


async def test_a_call_to_no_number_of_ours_is_kept_with_the_reason(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    answer = await post(anonymous, signed(line, "voice", golden("twilio", "voice_inbound_client")))
    assert verbs(answer) == ["Say", "Hangup"]
    assert await rows(admin, "calls", line.workspace_id) == []
    [receipt] = await rows(admin, "webhook_receipts", line.workspace_id)
    assert receipt["state"] == "unmapped"


@pytest.mark.parametrize(
    ("kind", "expected", "status"),
    [
        ("voice_fallback", ["Say", "Record", "Hangup"], "ringing"),
        ("voice_dial_action_completed", ["Hangup"], "completed"),
        ("voice_enqueue_action", [], "in_progress"),  # it was taken elsewhere, and has its answer from there
        ("voice_refer_action", ["Hangup"], "in_progress"),
        ("voice_relay_action_ended", ["Say", "Record", "Hangup"], "in_progress"),  # handed over to people
        ("voice_relay_action_failed", ["Say", "Record", "Hangup"], "in_progress"),
    ],
)
async def test_what_has_become_of_a_line_decides_what_it_does_next(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any, kind: str, expected: list[str], status: str
) -> None:
    params = golden("twilio", kind)
    if kind != "voice_fallback":
        await post(anonymous, signed(line, "voice", {**params, "CallStatus": "ringing"}))
    assert verbs(await post(anonymous, signed(line, KINDS[kind], params, "?turn=1"))) == expected
    [call] = await rows(admin, "calls", line.workspace_id)
    assert call["status"] == status
    if kind == "voice_dial_action_completed":
        [recording] = await rows(admin, "recordings", line.workspace_id)
        assert (recording["kind"], recording["duration_seconds"]) == ("call", 60)


STATUSES = [kind for kind in KINDS if kind.startswith("voice_status")]


@pytest.mark.parametrize("kind", STATUSES)
async def test_a_report_of_an_unknown_line_is_parked_once(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any, kind: str
) -> None:
    request = signed(line, "voice-status", golden("twilio", kind))
    assert [(await post(anonymous, request)).status_code for _ in range(2)] == [204, 204]
    [report] = await rows(admin, "call_reports", line.workspace_id)
    assert (report["leg_id"], report["reported"]) == (None, golden("twilio", kind)["CallStatus"])


@pytest.mark.parametrize("order", [STATUSES, STATUSES[::-1]])
async def test_reports_in_any_order_come_to_the_same(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any, order: list[str]
) -> None:
    sid = golden("twilio", order[0])["CallSid"]
    await post(anonymous, signed(line, "voice", {**golden("twilio", "voice_inbound"), "CallSid": sid}))
    sequence = {"in-progress": "2", "busy": "3", "failed": "4", "no-answer": "5"}
    for kind in order:
        params = golden("twilio", kind)
        params["SequenceNumber"] = sequence[params["CallStatus"]]
        assert (await post(anonymous, signed(line, "voice-status", params))).status_code == 204
    [leg] = await rows(admin, "call_legs", line.workspace_id)
    assert leg["status"] == "no_answer"  # the last by the provider's own count


async def test_who_picked_up_is_known_by_what_was_heard(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any
) -> None:
    params = golden("twilio", "voice_amd_async")
    await post(anonymous, signed(line, "voice", {**golden("twilio", "voice_inbound"), "CallSid": params["CallSid"]}))
    assert (await post(anonymous, signed(line, "voice-amd", params))).status_code == 204
    [leg] = await rows(admin, "call_legs", line.workspace_id)
    assert leg["detected"] == "machine_end_beep"


@pytest.mark.parametrize("kind", ["voice_conference_join", "voice_conference_leave", "voice_conference_end"])
async def test_a_conference_of_an_unknown_line_is_kept_with_the_reason(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any, kind: str
) -> None:
    request = signed(line, "voice-conference", golden("twilio", kind))
    assert [(await post(anonymous, request)).status_code for _ in range(2)] == [204, 204]
    [receipt] = await rows(admin, "webhook_receipts", line.workspace_id)
    assert receipt["state"] == "unmapped"
    assert json.loads(json.dumps(receipt["reason"])).startswith("no call of ours")


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_a_forged_one_leaves_no_row(
    line: Connection, anonymous: httpx.AsyncClient, admin: Any, kind: str
) -> None:
    if not (FIXTURES / "twilio" / f"{kind}.json").exists():
        return
    request = signed(line, KINDS[kind], golden("twilio", kind))
    forged = twilio.signed(request.url, line.credentials.__class__("ACx", "somebody-elses"), golden("twilio", kind))
    assert (await post(anonymous, forged)).status_code == 403
    assert await rows(admin, "calls", line.workspace_id) == []
    assert await rows(admin, "webhook_receipts", line.workspace_id) == []
