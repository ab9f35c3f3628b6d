"""What is no frame, too large, unknown or too much is answered, then closed; nobody else notices."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from comms.hub import protocol
from comms.hub.frames import framed
from models.base import new_id
from tests.screens import Office, Screen, eventually, screen, watching

DEEP = "[" * 9_000


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Any]]:
    """The errors that the test has logged; what is to be said of what others have left behind is said before."""
    gc.collect()
    return lambda: [record for record in caplog.records if record.exc_info]


def masked(frame: bytes) -> bytes:
    """A client's short frame, masked with zeros."""
    return b"%c%c\0\0\0\0%b" % (frame[0], frame[1] | 0x80, frame[2:])


@pytest.mark.parametrize(
    ("sent", "detail", "code"),
    [
        (masked(framed(b"{")) * 30, "truncated", 1008),
        (masked(framed(b'{"type":"fish"}')) * 30, "fish", 1008),
        (masked(framed(b'{"type":"ping"}')) * 300, "50 frames a second", 1008),
        (b"\x81\xfe\xff\xff\0\0\0\0" + b"x" * 65_535, "at most 16 KiB", 1009),
        (b"\x81\xff\x7f" + b"\xff" * 7 + b"\0\0\0\0", "at most 16 KiB", 1009),
        (masked(b"\x81\x02\xff\xfe"), "UTF-8", 1007),
        (b"\x81\x02{}", "not a websocket's frame", 1002),  # not masked
        (b"\x83\x80\0\0\0\0", "not a websocket's frame", 1002),  # there is no such opcode
        (b"\xf1\x80\0\0\0\0", "not a websocket's frame", 1002),  # reserved bits
        (masked(b"\x89\x7e") + b"\0\x7e" + b"x" * 126, "not a websocket's frame", 1002),  # a ping this long
        (masked(b"\x00\x02hi"), "not a websocket's frame", 1002),  # goes on with nothing
    ],
    ids=["malformed", "unknown", "many", "large", "huge", "bytes", "unmasked", "opcode", "bits", "ping", "rest"],
)
async def test_a_bad_frame_is_told_what_is_wrong_and_closed_with_its_code(
    url: str, acme: Office, sent: bytes, detail: str, code: int
) -> None:
    assert code in protocol.CLOSING
    async with watching(url, acme.token) as bad, watching(url, acme.token) as other:
        bad.connection.transport.write(sent)
        await acme.happens()
        frames, closed_with, _ = await bad.rest()
        assert closed_with == code
        assert detail in [frame["detail"] for frame in frames if frame["type"] == "error"][-1]
        assert await other.seqs(1) == [1]


async def test_a_wish_that_cannot_be_met_is_named_however_it_is_written(url: str, acme: Office) -> None:
    for topic in ("fish", "€" * 80, "\U0001f41f" * 80):
        async with screen(url, acme.token, topics=[topic]) as bad:
            code, reason = await bad.closed()
            assert (code, reason[:24]) == (1008, f"there is no topic {topic[:6]}")


async def test_what_is_nested_too_deeply_is_one_mistake_like_others(url: str, acme: Office) -> None:
    async with watching(url, acme.token) as bad:
        await bad.connection.send(f'{{"type":"ping","x":{DEEP}')
        assert "recursion" in (await bad.next("error"))["detail"]
        await bad.say(type="ping")
        await bad.next("pong")
    async with screen(url, None) as unknown:
        await unknown.connection.send(f'{{"type":"auth","token":{DEEP}')
        assert (await unknown.closed())[0] == 4401
    async with screen(url, None) as unknown:
        await unknown.connection.send(f'{{"type":"auth","token":"ck_x","x":{DEEP}')
        assert (await unknown.closed())[0] == 4401


async def test_who_asks_and_reads_no_answer_is_cut_off(hub: Any, url: str, acme: Office) -> None:
    """Not for an event it does not read, but for what it has asked for itself."""
    async with watching(url, acme.token) as deaf, watching(url, acme.token) as other:
        deaf.connection.transport.pause_reading()
        pings = masked(b"\x89\x7d" + b"x" * 125) * 2_000

        async def ask() -> None:
            while hub.sockets == 2:
                if not deaf.connection.transport.get_write_buffer_size():
                    deaf.connection.transport.write(pings)
                await asyncio.sleep(0.005)

        await asyncio.wait_for(ask(), 5)
        await acme.happens()
        assert await other.seqs(1) == [1]
        deaf.connection.transport.abort()


async def test_who_speaks_before_it_is_let_in_harms_nobody(
    hub: Any, url: str, acme: Office, errors: Callable[[], list[Any]]
) -> None:
    port = int(url.rpartition(":")[2].partition("/")[0])
    hub.auth_seconds = 0.1
    async with watching(url, acme.token) as other:
        for rest in (b"\xff" * 40, b"\x81\x02{}", masked(framed(b"{"))):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YmVuY2gtYmVuY2gtYmVuYw==\r\n\r\n"
            )
            await asyncio.sleep(0)
            writer.write(rest)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    while await reader.read(65536):
                        pass
            writer.close()
        await acme.happens()
        assert await other.seqs(1) == [1]
    assert not errors()


# Anything at all

_ids = st.sampled_from([str(new_id()), "x", "", 7, None])
_words = st.sampled_from(["subscribe", "unsubscribe", "typing", "presence", "ping", "auth", "event", "", "\x00"])
_topics = st.lists(
    st.one_of(
        st.sampled_from(["workspace", "presence", "inbox", f"call:{new_id()}", "channel:"]), st.text(max_size=20)
    ),
    max_size=5,
)
_frames = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60),
    st.fixed_dictionaries(
        {"type": st.one_of(_words, st.none(), st.text(max_size=5))},
        optional={
            "topics": st.one_of(_topics, _ids),
            "conversationId": _ids,
            "channelId": _ids,
            "typing": st.one_of(st.booleans(), _ids),
            "status": st.one_of(st.sampled_from(["online", "on_call", "offline"]), _ids),
            "more": st.recursive(st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=9),
        },
    ).map(json.dumps),
)


@pytest.fixture
async def other(url: str, acme: Office) -> AsyncIterator[Screen]:
    async with watching(url, acme.token, topics=["contacts"]) as other:
        yield other


async def test_whatever_is_said_harms_nobody(
    hub: Any, url: str, acme: Office, other: Screen, errors: Callable[[], list[Any]]
) -> None:
    examples: list[tuple[list[Any], bytes]] = []

    # In a new clone the first draw takes seconds: Hypothesis makes its table of all characters.
    @settings(max_examples=40, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(said=st.lists(_frames, min_size=1, max_size=8), raw=st.binary(max_size=30))
    def gather(said: list[Any], raw: bytes) -> None:
        examples.append((said, raw))

    gather()
    answers = {"error", "pong", "topics", "here", "presence", "heartbeat"}
    for said, raw in examples:
        async with watching(url, acme.token) as bad:
            try:
                for frame in [*said, '{"type":"ping"}']:
                    await bad.connection.send(frame)
                while (answer := await bad.next())["type"] != "pong":
                    assert answer["type"] in answers
                bad.connection.transport.write(raw)
            except ConnectionClosed:
                pass
            with suppress(TimeoutError):  # what is left may yet become a frame
                assert (await bad.closed(within=0.01))[0] in protocol.CLOSING
            bad.connection.transport.abort()
    await acme.happens("contact.created")
    assert await other.seqs(1) == [1]
    await eventually(lambda: hub.sockets == 1)
    assert not errors()
