"""The oracle of everything live: *first fetch + frames heard = second fetch*.

What is fetched is the log, over the API, by who has listened and with their rights of now: an entry of it is a frame,
and ``data`` is the thing as its own GET shows it. Up to ``ready.seq`` is the first fetch; all of it is the second.
"""

import asyncio
import json
import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed

from comms.audience import CHANNELLED, audience_of
from comms.hub import topics

if TYPE_CHECKING:
    from tests.screens import Screen

PATIENCE_SECONDS = 5.0
RIGHTS = frozenset({"workspace_member", "workspace", *CHANNELLED})
"""Nouns whose events may change what somebody hears: then rights of now say nothing of what was heard before."""

Frame = dict[str, Any]


async def judge(screen: "Screen", url: str, token: str, named: list[str] | None) -> None:
    """What the screen has heard, and what is on its way to it, is what the log shows; or an ``AssertionError``."""
    in_address = parse_qs(urlsplit(url).query).get("topics", [""])[-1]
    wanted = topics.more(topics.EVERYTHING, named or (in_address.split(",") if in_address else ["workspace"]))
    log = await fetched(url, token, screen.ready["seq"])
    if log is None:
        return  # whoever this was, they may not fetch any more
    due = [frame for frame in log if screen.is_tuned or topics.wanted(wanted, about(frame))]
    is_there = screen.is_tuned or await caught_up(screen, due)
    heard = screen.heard
    seqs = [frame["seq"] for frame in heard]
    assert seqs == sorted(set(seqs)), "twice, or out of order"
    assert not seqs or seqs[0] > screen.ready["seq"], "from before it came"
    shown = {frame["seq"]: frame for frame in log}
    for frame in heard:
        assert shown.get(frame["seq"], frame) == frame, "not as it is shown"
    if screen.is_tuned:
        return
    if any(frame["subjectType"] in RIGHTS for frame in [*log, *heard]):
        due, heard = list(open_to_all(due)), list(open_to_all(heard))
    last = log[-1]["seq"] if log else screen.ready["seq"]
    heard = [frame for frame in heard if frame["seq"] <= last]
    assert heard == (due if is_there else due[: len(heard)]), "first fetch + frames heard is not the second fetch"


async def caught_up(screen: "Screen", due: list[Frame]) -> bool:
    """Whether the screen was still there to hear the last of these; what is on its way is waited for."""
    last = due[-1]["seq"] if due else 0
    with suppress(TimeoutError):
        try:
            while not screen.heard or screen.heard[-1]["seq"] < last:
                if not last:
                    break
                await screen.next("event", within=PATIENCE_SECONDS)
            while True:  # what is there already: it may be too much
                await screen.next(within=0)
        except ConnectionClosed:
            return False
    return True


def open_to_all(frames: Iterable[Frame]) -> Iterable[Frame]:
    """Those that everybody hears, whatever they may do."""
    for frame in frames:
        noun = frame["subjectType"]
        if noun not in CHANNELLED and audience_of(noun, json.dumps(frame["data"]).encode()).is_everybody:
            yield frame


def about(frame: Frame) -> tuple[str, ...]:
    """The topics of an entry of the log."""
    conversation = frame["conversationId"]
    return topics.of_event(
        frame["event"].partition(".")[0],
        uuid.UUID(frame["subjectId"]),
        None if conversation is None else uuid.UUID(conversation),
        json.dumps(frame["data"]).encode(),
    )


async def fetched(url: str, token: str, after: int) -> list[Frame] | None:
    """The log after that, as frames, over the API of the process at ``url``; None for who may not ask (any more)."""
    place = urlsplit(url)
    frames: list[Frame] = []
    while True:
        try:
            status, page = await _asked(place.hostname, place.port, f"/api/v1/events?limit=200&after={after}", token)
        except OSError:
            return None  # the process is gone
        if status in (401, 403):
            return None
        assert status == 200, page
        frames += [{"type": "event", **entry} for entry in page["items"]]
        if page["nextCursor"] is None:
            return frames
        after = int(page["nextCursor"])


async def _asked(host: str | None, port: int | None, path: str, token: str) -> tuple[int, Any]:
    """An HTTP client of a few lines: a hundred screens that go would make a hundred of a large one's."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        said, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return int(said[9:12]), json.loads(body)
