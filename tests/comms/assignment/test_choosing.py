"""Whom a conversation is for: decided by what is known of people, and explained for each of them."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from comms.assignment.choosing import MOST_NAMED, Choice, Person, Wanted, choose

ANN, BEN, CAT = (uuid.UUID(int=number) for number in (1, 2, 3))
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def person(user_id: uuid.UUID, texts: int = 0, **known: Any) -> Person:
    return Person(user_id=user_id, **{"open": {"sms": texts}, "capacity": 3, **known})


def verdicts(choice: Choice) -> dict[uuid.UUID, str]:
    return {one.user_id: one.verdict for one in choice.considered}


def chosen(choice: Choice) -> uuid.UUID | None:
    return choice.person.user_id if choice.person else None


def test_least_busy_is_who_has_the_fewest_open_conversations() -> None:
    choice = choose([person(ANN, 2), person(BEN, 1), person(CAT, 3)], Wanted("sms"))
    assert chosen(choice) == BEN
    assert choice.reason == "the fewest open conversations of 2 who were free: 1 of 3 places taken"
    assert verdicts(choice) == {BEN: "chosen", ANN: "busier", CAT: "full"}
    [ann] = [one for one in choice.considered if one.user_id == ANN]
    assert ann.because == "2 of 3 places taken: 1 more than who was chosen"


def test_of_people_as_busy_as_each_other_it_is_who_has_most_places_and_then_whose_turn_it_is() -> None:
    roomy = choose([person(ANN, 1), person(BEN, 1, capacity=9)], Wanted("sms"))
    assert (chosen(roomy), verdicts(roomy)[ANN]) == (BEN, "busier")
    earlier = choose([person(ANN, 1, given_at=NOON), person(BEN, 1, given_at=NOON - timedelta(1))], Wanted("sms"))
    assert (chosen(earlier), verdicts(earlier)[ANN]) == (BEN, "later_turn")
    assert chosen(choose([person(ANN, given_at=NOON), person(BEN)], Wanted("sms"))) == BEN  # who was never given one


def test_round_robin_is_who_was_given_one_longest_ago_however_busy() -> None:
    people = [person(ANN, 0, given_at=NOON), person(BEN, 2, given_at=NOON - timedelta(minutes=1)), person(CAT, 3)]
    choice = choose(people, Wanted("sms", "round_robin"))
    assert chosen(choice) == BEN
    assert verdicts(choice) == {BEN: "chosen", ANN: "later_turn", CAT: "full"}
    assert choice.reason == "next in turn of 2 who were free: was given one at 2026-03-02 11:59:00Z"


def test_turns_go_round() -> None:
    people = [person(ANN, capacity=9), person(BEN, capacity=9), person(CAT, capacity=9)]
    order = []
    for minute in range(6):
        taker = choose(people, Wanted("sms", "round_robin")).person
        assert taker is not None
        taker.is_given("sms", NOON + timedelta(minutes=minute))
        order.append(taker.user_id)
    assert order == [ANN, BEN, CAT, ANN, BEN, CAT]


def test_who_had_the_contact_last_has_them_again_if_they_can() -> None:
    people = [person(ANN, 2), person(BEN, 0)]
    choice = choose(people, Wanted("sms", knows=ANN))
    assert chosen(choice) == ANN
    assert choice.reason == "had this contact last, and is free: 2 of 3 places taken"
    assert verdicts(choice)[BEN] == "knows_them_less"
    full = choose([person(ANN, 3), person(BEN, 0)], Wanted("sms", knows=ANN))
    assert (chosen(full), verdicts(full)[ANN]) == (BEN, "full")


@pytest.mark.parametrize(
    ("known", "verdict", "because"),
    [
        ({"is_available": False}, "away", "says to be away"),
        ({"is_online": False}, "offline", "is not online"),
        ({"is_on_call": True}, "on_call", "is on a call"),
        ({"skills": frozenset({"billing"})}, "lacks_skills", "lacks german"),
        ({"open": {"call": 1, "sms": 2}}, "full", "3 of 3 places taken"),
        ({"channel_capacity": {"sms": 1}, "open": {"sms": 1}}, "full", "1 of 1 places for sms taken"),
        ({"capacity": 0}, "full", "0 of 0 places taken"),
    ],
)
def test_who_cannot_is_told_why(known: dict[str, Any], verdict: str, because: str) -> None:
    can = frozenset({"billing", "german"})
    wanted = Wanted("sms", skills=can)
    people = [person(ANN, **{"skills": can, **known}), person(BEN, 2, skills=can)]
    assert chosen(choose([person(ANN, skills=can), people[1]], wanted)) == ANN  # if it were not for that
    choice = choose(people, wanted)
    assert chosen(choice) == BEN
    [ann] = [one for one in choice.considered if one.user_id == ANN]
    assert (ann.verdict, ann.because) == (verdict, because)


def test_a_place_for_one_channel_is_none_for_another() -> None:
    busy = person(ANN, channel_capacity={"live_chat": 1}, open={"live_chat": 1})
    assert chosen(choose([busy], Wanted("live_chat"))) is None
    assert chosen(choose([busy], Wanted("sms"))) == ANN


def test_who_has_just_given_it_back_is_not_given_it_again_even_if_they_know_the_contact() -> None:
    wanted = Wanted("sms", knows=ANN, let_go_by=ANN)
    choice = choose([person(ANN), person(BEN, 2)], wanted)
    assert (chosen(choice), verdicts(choice)[ANN]) == (BEN, "let_it_go")
    assert choose([person(ANN)], wanted).reason == "nobody is free: 1 who gave it back"


def test_who_has_refused_it_is_not_given_it_even_if_they_know_the_contact() -> None:
    wanted = Wanted("sms", knows=ANN, refused_by=frozenset([ANN]))
    choice = choose([person(ANN), person(BEN, 2)], wanted)
    assert (chosen(choice), verdicts(choice)[ANN]) == (BEN, "refused")
    assert choose([person(ANN)], wanted).reason == "nobody is free: 1 who refused it"


def test_when_nobody_can_it_says_how_many_are_what() -> None:
    people = [person(ANN, 3), person(BEN, 3), person(CAT, is_available=False)]
    choice = choose(people, Wanted("sms"))
    assert (choice.person, choice.reason) == (None, "nobody is free: 2 full, 1 away")
    assert choose([], Wanted("sms")).reason == "nobody in the team may answer"


def test_of_a_very_large_team_the_nearest_are_named_and_the_others_counted() -> None:
    people = [person(uuid.UUID(int=number + 10), 3) for number in range(MOST_NAMED + 50)]
    choice = choose([*people, person(ANN, 1), person(BEN, 0)], Wanted("sms"))
    assert [one.user_id for one in choice.considered[:2]] == [BEN, ANN]
    assert len(choice.considered) == MOST_NAMED
    assert choice.others == {"full": [person.user_id for person in people[MOST_NAMED - 2 :]]}
