"""Who calls whom, and what a line does next."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from comms.simulators.telephone.lines import Line, Over, Person
from comms.simulators.telephone.verbs import Obedient


class Switchboard(Obedient):
    """One account's lines at a provider. ``people`` are by their phones; whoever is not there is as ``anybody`` is.

    ``lines`` are all there were, oldest first. ``fallback_url`` is asked when an answer is no document.
    """

    async def call(
        self, sender: str, to: str, url: str, person: Person, *, status_url: str | None = None, **more: str
    ) -> Line:
        """Somebody calls a number of ours, and does what they do until it is over; the line as it was in the end."""
        line = self.ring(sender, to, url, person, status_url=status_url, **more)
        await line.ended.wait()
        await self.quiet()
        return line

    def ring(
        self, sender: str, to: str, url: str, person: Person, *, status_url: str | None = None, **more: str
    ) -> Line:
        """The same, begun."""
        line = self._line(sender, to, "inbound", person)
        line.status, line.callback = "ringing", status_url
        self.go(line, url, **more)
        if person.hangs_up is not None:
            self._later(self._lose_patience(line, person.hangs_up))
        return line

    def dial(self, sender: str, to: str, url: str, callback: str | None, seconds: float) -> Line:
        """We call somebody, by REST."""
        line = self._line(sender, to, "outbound-api", self.people.get(to, self.anybody))
        line.callback = callback
        self._later(self._dialled(line, url, seconds))
        return line

    def go(self, line: Line, url: str, **more: str) -> None:
        """The line does what ``url`` answers, and leaves what it did."""
        if line.bridge is not None and not line.bridge.done():
            line.bridge.set_result(f"redirected {line.sid}")
        if line.run is not None:
            line.run.cancel()
        line.run = self._later(self._run(line, url, more))

    async def _dialled(self, line: Line, url: str, seconds: float) -> None:
        line.status = "initiated"
        self.tell(line)
        if await self._rings(line, seconds):
            self.go(line, url)

    async def _run(self, line: Line, url: str, more: Mapping[str, str]) -> None:
        """Document after document, until one ends."""
        try:
            following: tuple[str, Mapping[str, str]] | None = (url, more)
            while following is not None:
                document = await self._document(line, *following)
                if line.status == "ringing" and line.direction == "inbound":
                    line.status = "in-progress"
                following = await self._obey(line, document, following[0])
            if line.parent is None and line.bridge is None:
                self.hang_up(line)
        except Over:
            self.hang_up(line)

    async def _lose_patience(self, line: Line, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(line.ended.wait(), seconds * self.second)
        self.hang_up(line)
