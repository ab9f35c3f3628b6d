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
        self._places: dict[uuid.UUID, dict[uuid.UUID, tuple[set[uuid.UUID], float]]] = {}
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
        """A process says whom it has."""
        places = self._places.setdefault(report.workspace_id, {})
        people = set(places.get(report.place, (set(), 0.0))[0])
        for user_id, status in report.people.items():
            (people.discard if status == "offline" else people.add)(user_id)
        places[report.place] = (people, time.monotonic() + FORGET_SECONDS)

    def _is_known(self, workspace_id: uuid.UUID) -> bool:
        at = time.monotonic()
        return any(people and until > at for people, until in self._places.get(workspace_id, {}).values())
