"""How much of what a sender does at once each workspace may have: one's storm, or one's silent provider, never has all.

Whoever has least comes first. Nobody takes more than three times what is left for the others: alone that is three
quarters of all places, of two in a storm each has less than half, and a third one always finds a place.
"""

import heapq
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence

TIMES_WHAT_IS_LEFT = 3


def shares(waiting: Sequence[uuid.UUID], under_way: Mapping[uuid.UUID, int], at_once: int) -> dict[uuid.UUID, int]:
    """How many more each of these workspaces may begin, those that may none left out; ``waiting`` longest first."""
    free = at_once - sum(under_way.values())
    given: Counter[uuid.UUID] = Counter()
    turns = [(under_way.get(workspace_id, 0), place, workspace_id) for place, workspace_id in enumerate(waiting)]
    heapq.heapify(turns)
    while turns and free > 0:
        has, place, workspace_id = heapq.heappop(turns)
        if has < TIMES_WHAT_IS_LEFT * free:
            given[workspace_id] += 1
            free -= 1
            heapq.heappush(turns, (has + 1, place, workspace_id))
    return dict(given)
