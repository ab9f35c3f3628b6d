"""Who gets which bytes: the same as if everybody were asked by themselves, and nobody is asked five hundred times."""

import random
import time
import uuid
from typing import Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from comms.audience import Audience, Listener
from comms.hub import fanout, frames, whispers
from comms.hub.frames import Told
from comms.hub.presence import REPORTED_AT_ONCE, Report, Roster
from comms.hub.rooms import Room
from comms.sockets import Wire
from comms.wakeups import PAYLOAD_BYTES, packed

USERS = [uuid.UUID(int=number) for number in range(4)]
NEED: Any = ("billing", "read")

_users = st.sampled_from(USERS)
_audiences = st.builds(
    Audience,
    user_id=st.none() | _users,
    administrators=st.booleans(),
    need=st.sampled_from([None, NEED]),
    owner_id=st.none() | _users,
    members=st.none() | st.frozensets(_users),
)
_listeners = st.builds(Listener, _users, st.booleans(), st.sampled_from([frozenset(), frozenset({NEED})]))
_topics = st.sampled_from([frozenset({"workspace"}), frozenset({"a"}), frozenset({"b"})])


class Seat(msgspec.Struct):
    """As much of a socket as writing to it takes."""

    listener: Listener


def room_of(seats: list[tuple[frozenset[str], Listener]]) -> Room:
    room = Room(uuid.uuid4(), 0, cast(Roster, None))
    for number, (listening, listener) in enumerate(seats):
        room.live.setdefault(listening, {})[cast(Wire, number)] = cast(Any, Seat(listener))
    return room


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    events=st.lists(st.tuples(st.sampled_from(["a", "b"]), _audiences), max_size=6),
    seats=st.lists(st.tuples(_topics, _listeners), max_size=6),
)
def test_everybody_gets_what_they_want_and_may_hear_once_and_in_order(
    events: list[tuple[str, Audience]], seats: list[tuple[frozenset[str], Listener]]
) -> None:
    page = [
        Told(seq, topic, (topic,), audience, b"<%d>" % seq) for seq, (topic, audience) in enumerate(events, start=1)
    ]
    got: dict[int, bytes] = dict.fromkeys(range(len(seats)), b"")
    for wires, data in fanout.shares(room_of(seats), page):
        for wire in wires:
            assert got[cast(int, wire)] == b""
            got[cast(int, wire)] = data
    for number, (listening, listener) in enumerate(seats):
        assert got[number] == frames.joined(page, listening, listener)


def test_one_message_and_five_hundred_notices_do_not_hold_up_the_others() -> None:
    """As ``@channel`` in a closed channel makes them."""
    people = [uuid.UUID(int=random.getrandbits(128)) for _ in range(500)]
    everybody = Audience(members=frozenset(people))
    page = [Told(1, "team_message", ("team_messages",), everybody, b"m" * 500)]
    page += [
        Told(seq, "notification", ("notifications",), Audience(user_id=user_id), b"n" * 500)
        for seq, user_id in enumerate(people, start=2)
    ]
    room = room_of([(frozenset({"workspace"}), Listener(user_id)) for user_id in people])
    began = time.process_time()
    due = fanout.shares(room, page)
    assert time.process_time() - began < 0.1, "each of them was asked about each of the others' notices"
    assert sorted(len(data) for _, data in due) == [1000] * 500


def test_a_message_to_five_hundred_members_is_one_write_for_all() -> None:
    people = [uuid.UUID(int=number) for number in range(500)]
    page = [Told(1, "team_message", ("team_messages",), Audience(members=frozenset(people)), b"m")]
    room = room_of([(frozenset({"workspace"}), Listener(user_id)) for user_id in [*people, uuid.uuid4()]])
    ((wires, data),) = fanout.shares(room, page)
    assert (len(wires), data) == (500, b"m")


def test_what_a_process_says_of_very_many_people_fits_into_notifications() -> None:
    roster = Roster(uuid.uuid4(), uuid.uuid4())
    people = [uuid.uuid4() for _ in range(REPORTED_AT_ONCE * 3 + 7)]
    for number, user_id in enumerate(people):
        roster.says(cast(Wire, number), user_id, "offline" if number % 2 else "online")
    for user_id in people:
        roster.says(cast(Wire, user_id), user_id, "online")
    _, reports = roster.settled()
    words = [whispers.spoken(report) for report in reports]
    assert max(len(payload.encode()) for payload in packed(words, "\n")) <= PAYLOAD_BYTES
    heard = [whispers.understood(word) for word in words]
    assert {user_id for report in heard if isinstance(report, Report) for user_id in report.people} == set(people)
