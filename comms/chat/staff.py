"""Who could answer: the members who are here, as far as the processes have said.

Each process says now and then whom it has. Of a workspace that nothing was heard of they are asked, once in a while.
"""

import asyncio
import time
import uuid

from comms.hub import Hub, whispers
from comms.hub.presence import FORGET_SECONDS, Question, Report

ASK_SECONDS, ASK_TIMES = 0.25, 25


class Staff:
    """The members who are here, of all workspaces."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._people: dict[uuid.UUID, dict[tuple[uuid.UUID, uuid.UUID], float]] = {}
        self._asked: dict[uuid.UUID, float] = {}

    async def is_anybody(self, workspace_id: uuid.UUID) -> bool:
        """Whether a member of the workspace is here, connected to whatever process."""
        if self._is_known(workspace_id):
            return True
        if time.monotonic() - self._asked.get(workspace_id, float("-inf")) > FORGET_SECONDS / 3:
            self._asked[workspace_id] = time.monotonic()
            question = whispers.spoken(Question(workspace_id))
            self._hub.overheard(question)
            self._hub.wakeups.whisper(question)
            for _ in range(ASK_TIMES):
                if self._is_known(workspace_id):
                    break
                await asyncio.sleep(ASK_SECONDS / ASK_TIMES)
        return self._is_known(workspace_id)

    def hears(self, report: Report) -> None:
        """A process says whom it has; who is not named again is forgotten, for the word that they left may be lost."""
        at = time.monotonic()
        before = self._people.get(report.workspace_id, {})
        people = {key: until for key, until in before.items() if until > at}
        for user_id, status in report.people.items():
            if status == "offline":
                people.pop((report.place, user_id), None)
            else:
                people[report.place, user_id] = at + FORGET_SECONDS
        self._people[report.workspace_id] = people

    def _is_known(self, workspace_id: uuid.UUID) -> bool:
        at = time.monotonic()
        return any(until > at for until in self._people.get(workspace_id, {}).values())
