"""What happens next on a call: flow, state and turn in, verbs out, by tables and without anybody else."""

from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest

from comms.calls import flow as flows
from comms.calls import verbs as v
from comms.calls.core import (
    Began,
    Chose,
    Decision,
    HandedOver,
    LeftMessage,
    Lost,
    Rang,
    State,
    Turn,
    Waited,
    World,
    decide,
    hold,
)
from comms.calls.twiml import Line, unavailable, written
from tests.comms.calls.flows import ADA, BOB, EVE, PHONES, document, office

NOON = datetime(2026, 3, 9, 19, tzinfo=UTC)  # a Monday, noon in Los Angeles
NIGHT = datetime(2026, 3, 9, 4, tzinfo=UTC)


def world(**more: Any) -> World:
    return World(**{"at": NOON, "phones": PHONES, "queue": "call-1"} | more)


def after(*turns: Turn, flow: dict[str, Any] | None = None, **more: Any) -> Decision:
    """What is decided when these have happened, one after the other."""
    read, decision = flows.read(flow or office()), Decision(State())
    for turn in (Began(), *turns):
        decision = decide(read, decision.state, turn, world(**more))
    return decision


def kinds(decision: Decision) -> list[str]:
    return [type(verb).__name__ for verb in decision.verbs]


def rung(decision: Decision) -> list[str]:
    return [target.phone for target in decision.offer.targets] if decision.offer else []


@pytest.mark.parametrize(
    ("turns", "step", "expected"),
    [
        ((), "menu", ["Gather", "Redirect"]),
        ((Chose("1"),), "sales", ["Dial"]),
        ((Chose("2"),), "help", ["Say", "Enqueue"]),
        ((Chose(speech="I want to buy a dog."),), "sales", ["Dial"]),
        ((Chose(speech="1."),), "sales", ["Dial"]),
        ((Chose(speech="Salesman"),), "menu", ["Say", "Gather", "Redirect"]),  # a word is a whole word
        ((Chose("9"),), "menu", ["Say", "Gather", "Redirect"]),
        ((Chose(),), "menu", ["Gather", "Redirect"]),
        ((Chose(), Chose()), "message", ["Say", "Record", "Hangup"]),
        ((Chose("1"), Rang()), "message", ["Say", "Record", "Hangup"]),
        ((Chose("1"), Rang(was_put_through=True)), "sales", ["Hangup"]),
        ((Chose("1"), Rang(is_gone=True)), "sales", ["Hangup"]),
        ((Chose("2"), Waited()), "message", ["Say", "Record", "Hangup"]),
        ((Chose("2"), Waited(was_put_through=True)), "help", ["Hangup"]),
        ((Chose(), Chose(), LeftMessage()), "message", ["Say", "Hangup"]),
        ((Lost(),), "menu", ["Say", "Record", "Hangup"]),
        ((Rang(),), "menu", ["Say", "Record", "Hangup"]),  # what cannot be: a message is taken all the same
        ((HandedOver(),), "menu", ["Gather", "Redirect"]),
    ],
)
def test_a_call_goes_its_way(turns: tuple[Turn, ...], step: str, expected: list[str]) -> None:
    decision = after(*turns)
    assert (decision.state.step, kinds(decision)) == (step, expected)


@pytest.mark.parametrize("first", [{"digit": "*"}, {"digit": "#"}, {"digit": "5", "words": ["!!!"]}])
@pytest.mark.parametrize(
    ("chose", "step"),
    [(Chose("1"), "message"), (Chose("7"), "hello"), (Chose(), "hello"), (Chose(speech="Hm."), "hello")],
)
def test_what_cannot_be_said_takes_nobody_elses_choice(first: dict[str, Any], chose: Chose, step: str) -> None:
    others = {"digit": "1", "next": "message"}
    menu = {"type": "menu", "text": "?", "listens": True, "choices": [{"next": "bye"} | first, others], "next": "bye"}
    kept = flows.recall(document(hello=menu))  # as it was kept before such words were refused
    asked = decide(kept, State(), Began(), world())
    assert decide(kept, asked.state, chose, world()).state.step == step
    assert decide(kept, asked.state, Chose(first["digit"]), world()).state.step == "bye"


def test_at_night_a_message_is_taken_and_the_call_is_known_as_after_hours() -> None:
    decision = after(at=NIGHT)
    assert (decision.state.is_closed, kinds(decision)) == (True, ["Say", "Record", "Hangup"])


def test_all_are_rung_at_once_and_asked_for_the_key() -> None:
    decision = after(Chose("1"))
    assert rung(decision) == [PHONES[ADA], PHONES[BOB]]
    [dial] = decision.verbs
    assert isinstance(dial, v.Dial)
    screens = [one.screen for one in dial.rung if one.screen is not None]
    assert [screen.kind for screen in screens] == ["voice-accept", "voice-accept"]
    assert decision.offer is not None
    assert {dict(screen.query)["token"] for screen in screens} == {decision.offer.token}


def test_who_talks_already_or_has_no_phone_is_not_rung() -> None:
    assert rung(after(Chose("1"), busy=frozenset({ADA}))) == [PHONES[BOB]]
    assert rung(after(Chose("1"), phones={BOB: PHONES[BOB]})) == [PHONES[BOB]]
    assert kinds(after(Chose("1"), phones={})) == ["Say", "Record", "Hangup"]


def test_in_order_one_is_rung_after_the_other_in_as_many_rounds_as_are_wanted() -> None:
    ring = {"type": "ring", "users": [str(ADA), str(BOB)], "order": "in_order", "rounds": 2, "next": "message"}
    seen = [rung(after(*[Rang()] * times, flow=document(hello=ring))) for times in range(5)]
    assert seen == [[PHONES[ADA]], [PHONES[BOB]], [PHONES[ADA]], [PHONES[BOB]], []]


def test_a_mailbox_that_picked_up_first_does_not_keep_the_others_from_being_rung() -> None:
    assert rung(after(Chose("1"), Rang(unreached=(PHONES[BOB],)))) == [PHONES[BOB]]
    assert rung(after(Chose("1"), Rang(unreached=(PHONES[BOB],)), Rang())) == []


def test_a_channel_is_rung_with_its_members_of_this_moment_each_phone_once() -> None:
    channel = ADA
    ring = {"type": "ring", "channelId": str(channel), "users": [str(EVE)], "numbers": ["+14155550999"], "next": "bye"}
    members = {channel: [ADA, EVE, BOB]}
    assert rung(after(flow=document(hello=ring), channels=members)) == [
        PHONES[EVE],
        PHONES[ADA],
        PHONES[BOB],
        "+14155550999",
    ]


def test_before_anything_is_recorded_the_caller_is_told_once() -> None:
    ring = {"type": "ring", "users": [str(ADA)], "record": True, "rounds": 2, "next": "message"}
    first = after(flow=document(hello=ring))
    assert kinds(first) == ["Say", "Dial"]
    assert first.verbs[0] == v.Say("This call may be recorded.")
    assert kinds(after(Rang(), flow=document(hello=ring))) == ["Dial"]


def test_a_queue_that_is_full_sends_the_caller_on() -> None:
    queue = {"type": "queue", "users": [str(ADA)], "mostCallers": 2, "next": "message"}
    assert after(flow=document(hello=queue), waiting=1).waits_in == "hello"
    full = after(flow=document(hello=queue), waiting=2)
    assert (full.waits_in, kinds(full)) == (None, ["Say", "Say", "Record", "Hangup"])


@pytest.mark.parametrize(
    ("position", "waited", "expected"),
    [
        (1, 0, [v.Say("You are next in line."), v.Play("https://example.com/a.mp3")]),
        (4, 59, [v.Say("You are number 4 in line."), v.Play("https://example.com/a.mp3")]),
        (1, 60, [v.Leave()]),
    ],
)
def test_whoever_waits_hears_their_place_and_music_until_it_is_too_long(
    position: int, waited: float, expected: list[v.Verb]
) -> None:
    step = flows.Queue(users=(ADA,), music="https://example.com/a.mp3", most_seconds=60, next="x")
    assert hold(step, State(), position=position, waited_seconds=waited) == expected


def test_a_queue_without_music_of_its_own_is_not_silent() -> None:
    [_, heard] = hold(flows.Queue(users=(ADA,), next="x"), State(), position=1, waited_seconds=0)
    play = ET.fromstring(written(LINE, [heard])).find("Play")
    assert play is not None
    assert play.text == "https://hooks.example.com/sounds/hold.wav"


def test_a_state_survives_being_kept() -> None:
    state = after(Chose("1")).state
    assert msgspec.convert(msgspec.to_builtins(state), State) == state


LINE = Line("twilio", "https://hooks.example.com/webhooks/twilio/1", turn=3)


def test_what_is_decided_is_written_as_twiml() -> None:
    document = ET.fromstring(written(LINE, after(Chose("1")).verbs))
    dial = document.find("Dial")
    assert dial is not None
    assert dial.get("action") == "https://hooks.example.com/webhooks/twilio/1/voice-dial?turn=3"
    number = dial.find("Number")
    assert number is not None
    assert number.text == PHONES[ADA]
    assert "voice-accept?leg=" in str(number.get("url"))
    assert number.get("statusCallbackEvent") == "initiated ringing answered completed"


def test_every_key_can_be_chosen() -> None:
    gather = ET.fromstring(written(LINE, after().verbs)).find("Gather")
    assert gather is not None
    assert gather.get("finishOnKey") == ""


@pytest.mark.parametrize("provider", ["twilio", "signalwire"])
def test_a_machine_is_listened_for_only_where_the_provider_knows_how(provider: str) -> None:
    line = Line(provider, "https://x.example/webhooks")
    dial = v.Dial((v.Rung(ADA, "+14155550123", detects_machines=True),), v.place("voice-done"), 30)
    assert ("machineDetection" in written(line, [dial])) is (provider == "twilio")


def test_what_people_write_cannot_become_a_verb() -> None:
    said = written(LINE, [v.Say('<Dial>+1900</Dial> & "more"')])
    assert [element.tag for element in ET.fromstring(said)] == ["Say"]


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1f", "\ufffe", "\uffff"])
def test_what_no_document_can_hold_does_not_silence_the_rest(character: str) -> None:
    menu = v.Gather((v.Say(f"Press{character} 1."),), v.place("voice-step"), hints=(f"b{character}uy",), listens=True)
    line = msgspec.structs.replace(LINE, voice=f"{character}alice")
    said = written(line, [v.Say(f"Call from Bob{character}.\n"), menu, v.Join(f"a{character}", v.place("voice-done"))])
    document = ET.fromstring(said.encode())
    assert [element.text for element in document.iter("Say")] == ["Call from Bob.\n", "Press 1."]


def test_the_last_resort_takes_a_message() -> None:
    assert [element.tag for element in ET.fromstring(unavailable(LINE))] == ["Say", "Record", "Hangup"]
