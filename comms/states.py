"""Which states allow what."""

from collections.abc import Mapping

from comms.errors import Conflict

Allowed = Mapping[str, tuple[str, ...]]
"""What can be done (``paid``), and the states a row may be in for it (``sent``, ``overdue``)."""


def expect(noun: str, status: str, done: str, allowed: Allowed) -> None:
    """A ``noun`` in that state can be ``done`` so; else ``Conflict`` names what can be done with it instead."""
    if status in allowed[done]:
        return
    possible = [name for name, states in allowed.items() if status in states]
    instead = f"it can be {' or '.join(possible)}" if possible else "nothing can be done with it any more"
    raise Conflict(f"this {noun} is {status} and cannot be {done}: {instead}")
