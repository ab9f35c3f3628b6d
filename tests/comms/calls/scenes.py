"""Calls under way: a contact and the owner talk, and something may happen to that."""

from collections.abc import Mapping
from typing import Any

from comms.service import Service
from comms.simulators.telephone import Line, Person
from tests.comms.calls.people import OWNER, office
from tests.conftest import Client
from tests.handlers.webhooks import rows
from tests.make import calls as make
from tests.make.calls import CALLER, Network
from tests.make.sending import until
from tests.screens import eventually

BOB = "+14155550155"
TALKING = "EXISTS (SELECT FROM call_legs WHERE role = 'agent' AND status = 'in_progress')"
ENDED = "NOT EXISTS (SELECT FROM calls WHERE ended_at IS NULL)"


class Scene:
    """The contact and the owner talk; the network's worker is on."""

    def __init__(self, net: Network, owner: Client, call_id: Any, contact: Line) -> None:
        self.net = net
        self.contact = contact
        self.call_id = call_id
        self._owner = owner

    @property
    def member(self) -> Line:
        """The owner's line."""
        return next(line for line in self.net.switchboard.lines.values() if line.to == OWNER)

    @property
    def is_talk(self) -> bool:
        """Whether the contact and the owner talk with each other."""
        talk = self.contact.bridge
        return talk is not None and talk is self.member.bridge and not talk.done()

    async def transfer(self, kind: str, **to: str) -> str:
        """Its id."""
        answer = await self._owner.post(f"/api/v1/calls/{self.call_id}/transfer", json={"kind": kind, **to})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def cancel(self) -> None:
        answer = await self._owner.delete(f"/api/v1/calls/{self.call_id}/transfer")
        assert answer.status_code == 200, answer.text

    async def complete(self) -> None:
        answer = await self._owner.post(f"/api/v1/calls/{self.call_id}/transfer-completion")
        assert answer.status_code == 201, answer.text

    async def together(self, room: str, *phones: str) -> None:
        """Exactly these are in the room, by their phones."""
        rooms: Mapping[str, list[Line]] = self.net.switchboard.rooms
        await eventually(lambda: sorted(phone_of(line) for line in rooms.get(room, [])) == sorted(phones))


def phone_of(line: Line) -> str:
    return line.sender if line.direction == "inbound" else line.to


async def incoming(
    net: Network, service: Service, owner: Client, member: Client, admin: Any, *, queue: bool = False, **step: Any
) -> Scene:
    """The contact has called, and the owner has taken it: at once, or out of the queue."""
    users = [str(owner.user_id)]
    team = {"type": "queue" if queue else "ring", "users": users, "next": "message", **step}
    await make.flow(service, net.line, office(owner, member, team=team))
    net.switchboard.people[OWNER] = Person(after=1, keys=("1",), talks=None)
    contact = net.ring(Person(keys=("1",), talks=None))
    await until(admin, "EXISTS (SELECT FROM calls WHERE answered_at IS NOT NULL)")
    await until(admin, TALKING)
    await eventually(lambda: contact.bridge is not None)
    [call] = await rows(admin, "calls", net.line.workspace_id)
    return Scene(net, owner, call["id"], contact)


async def outgoing(net: Network, owner: Client, admin: Any) -> Scene:
    """The owner has called the contact, and they talk."""
    net.switchboard.people[OWNER] = Person(after=1, keys=("1",), talks=None)
    net.switchboard.people[CALLER] = Person(after=1, talks=None)
    answer = await owner.post("/api/v1/calls", json={"to": CALLER})
    assert answer.status_code == 202, answer.text
    await until(admin, "EXISTS (SELECT FROM calls WHERE answered_at IS NOT NULL)")
    await eventually(lambda: any(line.to == CALLER and line.bridge for line in net.switchboard.lines.values()))
    contact = next(line for line in net.switchboard.lines.values() if line.to == CALLER)
    return Scene(net, owner, answer.json()["id"], contact)
