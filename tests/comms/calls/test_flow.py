"""A number's flow: what is read, what is refused and where, and what its preview prints."""

from datetime import UTC, datetime
from typing import Any

import pytest

from comms.calls import flow as flows
from comms.calls import hours, preview
from comms.calls.hours import Holiday, Span
from comms.errors import Invalid
from tests.comms.calls.flows import ADA, BOB, EVE, document, office

MENU: dict[str, Any] = {"type": "menu", "text": "?", "choices": [{"digit": "1", "next": "hello"}], "next": "bye"}
RING: dict[str, Any] = {"type": "ring", "users": [str(ADA)], "next": "message"}


def test_a_flow_is_kept_as_it_was_read() -> None:
    flow = flows.read(office())
    assert flows.recall(flows.kept(flow)) == flow
    assert flows.people_of(flow) == ({ADA, BOB, EVE}, set())


def test_a_menu_may_lead_back_because_the_caller_is_asked() -> None:
    flows.read(document(hello=MENU))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"start": "nowhere"}, {"voiceFlow.start"}),
        ({"steps": {}}, {"voiceFlow.steps"}),
        ({"colour": "red"}, {"voiceFlow.colour"}),
        ({"timezone": "Mars"}, {"voiceFlow.timezone"}),
        (document(hello={"type": "sing"}), {"voiceFlow.steps.hello.type"}),
        (document(hello={"type": "say", "text": "Hi"}), {"voiceFlow.steps.hello.next"}),
        (document(hello={"type": "say", "text": "Hi", "next": "x"}), {"voiceFlow.steps.hello.next"}),
        (document(hello={"type": "say", "next": "bye"}), {"voiceFlow.steps.hello"}),
        (document(hello={"type": "say", "text": "Hi", "next": "hello"}), {"voiceFlow.steps.hello.next"}),
        (
            document(hello=MENU | {"choices": [{"digit": "1", "next": "bye"}, {"digit": "1", "next": "bye"}]}),
            {"voiceFlow.steps.hello.choices[1].digit"},
        ),
        (
            document(hello=MENU | {"choices": [{"digit": "12", "next": "bye"}]}),
            {"voiceFlow.steps.hello.choices[0].digit"},
        ),
        (
            document(hello=MENU | {"choices": [{"digit": "1", "next": "no"}]}),
            {"voiceFlow.steps.hello.choices[0].next"},
        ),
        (
            document(hello=MENU | {"choices": [{"digit": "1", "next": "bye", "words": ["yes", "!!!", " _"]}]}),
            {"voiceFlow.steps.hello.choices[0].words[1]", "voiceFlow.steps.hello.choices[0].words[2]"},
        ),
        (document(hello={"type": "ring", "next": "bye"}), {"voiceFlow.steps.hello"}),
        (document(hello=RING | {"numbers": ["555"]}), {"voiceFlow.steps.hello.numbers[0]"}),
        (document(hello=RING | {"seconds": 1}), {"voiceFlow.steps.hello.seconds"}),
        (
            document(
                hello={
                    "type": "hours",
                    "schedule": {"mon": [{"from": "9", "to": "17:00"}]},
                    "open": "bye",
                    "closed": "bye",
                }
            ),
            {"voiceFlow.steps.hello.schedule.mon[0].from"},
        ),
        (
            document(hello={"type": "hours", "schedule": {"day": []}, "open": "bye", "closed": "bye"}),
            {"voiceFlow.steps.hello.schedule.day"},
        ),
        (
            document(
                hello={
                    "type": "hours",
                    "schedule": {"mon": [{"from": "09:00", "to": "09:00"}]},
                    "holidays": [{"on": "2026-12-24", "open": [{"from": "00:00", "to": "00:00"}]}],
                    "open": "bye",
                    "closed": "bye",
                }
            ),
            {"voiceFlow.steps.hello.schedule.mon[0]", "voiceFlow.steps.hello.holidays[0].open[0]"},
        ),
        (
            document(**{f"s{n}": {"type": "say", "text": "&" * 1_000, "next": "bye"} for n in range(8)}, start="s0"),
            {"voiceFlow.steps"},
        ),
        (document(hello={"type": "hangup", "text": "bad \x0b ctrl"}), {"voiceFlow.steps.hello.text"}),
        (document(hello=RING | {"text": "\ufffe"}), {"voiceFlow.steps.hello.text"}),
        (
            document(hello={"type": "say", "play": "https://example.com/\x01", "next": "bye"}),
            {"voiceFlow.steps.hello.play"},
        ),
        (
            document(hello={"type": "queue", "users": [str(ADA)], "music": "https://a.example/\x01", "next": "bye"}),
            {"voiceFlow.steps.hello.music"},
        ),
        (
            document(hello=MENU | {"choices": [{"digit": "1", "next": "bye", "words": ["yes", "y\x02es"]}]}),
            {"voiceFlow.steps.hello.choices[0].words[1]"},
        ),
        ({"voice": "\x01"}, {"voiceFlow.voice"}),
        ({"recordingNotice": "\x01"}, {"voiceFlow.recordingNotice"}),
        ({"missedCallText": "a\x00b"}, {"voiceFlow.missedCallText"}),
        ({"afterHoursText": "a\x00b"}, {"voiceFlow.afterHoursText"}),
        ("not an object", {"voiceFlow"}),
    ],
)
def test_a_fault_is_named_by_its_path(wrong: Any, named: set[str]) -> None:
    sent = office() | wrong if isinstance(wrong, dict) and "hello" not in wrong.get("steps", {}) else wrong
    with pytest.raises(Invalid) as refused:
        flows.read(sent)
    assert set(refused.value.errors) == named


def test_numbers_are_kept_as_they_are_dialled_each_once() -> None:
    flow = flows.read(document(hello=RING | {"numbers": ["+1 415 555 0999", "+14155550999"]}))
    hello = flow.steps["hello"]
    assert isinstance(hello, flows.Ring)
    assert hello.numbers == ("+14155550999",)


def test_a_circle_is_told_with_its_steps() -> None:
    with pytest.raises(Invalid) as refused:
        flows.read(document(hello=RING | {"next": "again"}, again={"type": "say", "text": "Hi", "next": "hello"}))
    assert "hello → again → hello" in str(refused.value)


def test_many_branches_are_read_as_quickly_as_few() -> None:
    steps: dict[str, Any] = {
        f"s{n}": {"type": "hours", "schedule": {"mon": []}, "open": f"s{n + 1}", "closed": f"s{n + 1}"}
        for n in range(90)
    }
    flows.read(document("s0", **steps, s90={"type": "hangup"}))  # 2**90 ways through it


LUNCH = {"mon": (Span("09:00", "12:00"), Span("13:00", "24:00")), "sat": (Span("22:00", "02:00"),)}
OFF = (Holiday(datetime(2026, 3, 2).date()),)  # noqa: DTZ001  # a Monday


@pytest.mark.parametrize(
    ("at", "zone", "expected"),
    [
        ("2026-03-09T08:59+00:00", "UTC", False),
        ("2026-03-09T09:00+00:00", "UTC", True),
        ("2026-03-09T12:00+00:00", "UTC", False),
        ("2026-03-09T23:59+00:00", "UTC", True),
        ("2026-03-02T10:00+00:00", "UTC", False),  # the holiday
        ("2026-03-14T23:00+00:00", "UTC", True),
        ("2026-03-15T01:59+00:00", "UTC", True),  # Sunday morning is still Saturday night
        ("2026-03-15T02:00+00:00", "UTC", False),
        ("2026-03-09T07:30+00:00", "Europe/Berlin", False),
        ("2026-03-09T08:00+00:00", "Europe/Berlin", True),  # winter time
        ("2026-03-30T07:00+00:00", "Europe/Berlin", True),  # summer time
    ],
)
def test_hours_are_those_of_the_place(at: str, zone: str, expected: bool) -> None:
    assert hours.is_open(LUNCH, OFF, zone, datetime.fromisoformat(at)) is expected


def test_the_preview_prints_what_a_caller_hears() -> None:
    names = {ADA: "Ada", BOB: "Bob", EVE: "Eve"}
    lines = preview.heard(flows.read(office()), names=names, zone="UTC")
    assert lines[0] == "mon 09:00–17:00 (America/Los_Angeles)"
    assert "2026-12-25 Christmas: closed" in lines
    assert "    “For sales press 1, for help press 2.”" in lines
    assert "    presses 1 or says sales, buy:" in lines
    assert "        rings Ada and Bob, together, 20 s; whoever presses 1 is put through" in lines
    assert lines[-1] == "    → message, as above"
    at_night = preview.heard(flows.read(office()), names=names, zone="UTC", at=datetime(2026, 3, 9, 3, tzinfo=UTC))
    assert at_night[-2:] == [
        "when closed:",
        "    “Please leave a message.” beep: a message of 120 s at most, written down",
    ]
