"""Names are looked up beside each other: one that nobody answers for holds up no other."""

import asyncio
import threading
from collections.abc import Iterator, Sequence

import httpx
import pytest

from comms import names
from comms.names import Crowded, Names, NotFound
from comms.outside import Outside, Refused, host_of, parsed
from models.base import new_id


class Slow:
    """Answers for names at once, but for those that begin with ``black``: for them when it is let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = threading.Event()

    def __call__(self, host: str, port: int | None) -> Sequence[str]:
        self.asked.append(host)
        if host.startswith("black"):
            self.go.wait(5)
        if host.startswith(("black", "no")):
            raise OSError
        return ["8.8.8.8"]


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.go.set()


async def test_the_names_of_one_workspace_hold_up_no_others(slow: Slow) -> None:
    known, mine, theirs = Names(slow), new_id(), new_id()
    waiting = [
        asyncio.ensure_future(known.addresses_of(f"black{number}.example", 443, mine))
        for number in range(names.MOST_EACH)
    ]
    await asyncio.sleep(0)
    with pytest.raises(Crowded):
        await known.addresses_of("good.example", 443, mine)
    assert await known.addresses_of("good.example", 443, theirs) == ["8.8.8.8"]
    assert await known.addresses_of("good.example", 443, mine) == ["8.8.8.8"], "what is known takes no thread"
    assert await known.addresses_of("8.8.4.4", 443, mine) == ["8.8.4.4"]
    slow.go.set()
    assert all(isinstance(one, NotFound) for one in await asyncio.gather(*waiting, return_exceptions=True))


async def test_all_names_together_have_so_many_threads(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "THREADS", 1)
    known = Names(slow, seconds=0.01)
    with pytest.raises(NotFound):
        await known.addresses_of("black.example", 443)
    with pytest.raises(Crowded):
        await known.addresses_of("good.example", 443, new_id())


async def test_a_name_that_is_waited_for_is_asked_for_once_and_waited_for_once(slow: Slow) -> None:
    known = Names(slow, seconds=0.05)
    for _ in range(3):
        with pytest.raises(NotFound):
            async with asyncio.timeout(2):
                await known.addresses_of("black.example", 443, new_id())
    assert slow.asked == ["black.example"]


async def test_what_was_not_found_is_not_asked_for_again_at_once(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Names(slow)
    for _ in range(2):
        with pytest.raises(NotFound):
            await known.addresses_of("nobody.example", 443)
    assert slow.asked == ["nobody.example"]
    monkeypatch.setattr(names, "REMEMBERED_SECONDS", 0.0)
    with pytest.raises(NotFound):
        await known.addresses_of("nobody.example", 443)
    assert slow.asked == ["nobody.example"] * 2


async def test_a_name_that_cannot_be_written_is_not_found() -> None:
    def lookup(host: str, port: int | None) -> Sequence[str]:
        raise UnicodeError("label too long")

    with pytest.raises(NotFound):
        await Names(lookup).addresses_of("a" * 64, 443)


async def test_an_international_name_is_asked_for_as_the_world_writes_it(slow: Slow) -> None:
    url = parsed("https://b\u00fccher.example/x")
    await Outside(lookup=slow).addresses_of(url)
    assert (slow.asked, host_of(url)) == (["xn--bcher-kva.example"], "xn--bcher-kva.example")


@pytest.mark.parametrize("address", ["https://xn--0.example/", "https://a..b/", "//a%41.example/", "https://[::1/"])
def test_what_no_host_can_be_called_is_refused_where_it_is_read(address: str) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        parsed(address, httpx.URL("https://example.com/"))
