"""Twilio's messaging services: a number in one posts where the service says, and not where the number does."""

from collections.abc import AsyncIterator, Collection
from typing import Any, Literal

import msgspec

from comms.providers import wiring
from comms.providers.rest import Account, document_of, expect_success
from comms.providers.wiring import Pool
from comms.repair.asking import Providers, Unanswered

MOST_PAGES = 20
_KINDS: tuple[Literal["PhoneNumbers"], Literal["ShortCodes"]] = ("PhoneNumbers", "ShortCodes")


class Shared(msgspec.Struct, frozen=True):
    """A messaging service, and the numbers in it."""

    service: Pool
    numbers: frozenset[str]

    @property
    def drops(self) -> bool:
        """What comes in is kept by nobody, not even in the provider's log: no sweep finds it."""
        return not self.service.defers and self.service.inbound_url is None

    def posts_to(self, url: str) -> bool:
        """Whether what comes in to its numbers gets to ``url``, which they have for their own."""
        said = (self.service.inbound_url or "").partition("#")[0]
        return self.service.defers or said == url.partition("#")[0]


async def pools_of(providers: Providers, account: Account, base: str) -> list[Shared]:
    """All messaging services of the account; raises ``Unanswered`` and what the provider's refusal means."""
    found = [service async for service in _services(providers, account, base)]
    return [
        Shared(service, frozenset([number async for number in _numbers(providers, account, base, service)]))
        for service in found
    ]


async def leave_to_numbers(providers: Providers, account: Account, base: str, service: Pool) -> None:
    """What comes in to the service's numbers is posted where they themselves say."""
    answer = await providers.ask(wiring.defer(account, base, service.sid))
    expect_success(answer, document_of(answer))


def strangers(pool: Shared, ours: Collection[str]) -> list[str]:
    """The numbers of the service that are none of ours, for whom a change of it would be one as well."""
    return sorted(pool.numbers - set(ours))


async def _services(providers: Providers, account: Account, base: str) -> AsyncIterator[Pool]:
    after = None
    for _ in range(MOST_PAGES):
        page, after = wiring.services_in(await providers.ask(wiring.services(account, base, after)))
        for service in page:
            yield service
        if after is None:
            return
    raise Unanswered("The account has too many messaging services to look at.")


async def _numbers(providers: Providers, account: Account, base: str, service: Pool) -> Any:
    for kind in _KINDS:
        after = None
        for _ in range(MOST_PAGES):
            answer = await providers.ask(wiring.members(account, base, service.sid, kind, after))
            page, after = wiring.members_in(answer, kind)
            for number in page:
                yield number
            if after is None:
                break
