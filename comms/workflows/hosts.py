"""The hosts that workflows may call, and the headers that calls there carry: sealed, and shown as four characters.

A secret belongs to its host and not to a step: no workflow, run or event ever holds it, and no other host is sent it.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import outside
from comms.errors import Conflict, Invalid, Missing
from comms.vault import Vault, kept, sealed_in
from comms.workflows.acting import Failed, SealedHeader
from models.orchestration import AgentWorkflowHost

MOST_SECRETS = 10
LONGEST_HEADER = 2_000
OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "idempotency-key", "user-agent"})
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_SECRET = re.compile(r"authori[sz]ation|cookie|secret|token|password|api-?key")


def keep_secret(row: AgentWorkflowHost, vault: Vault, name: str, value: str) -> None:
    """Every call to this host carries this header, whatever it said before; ``Invalid`` names what cannot be sent."""
    name = name.lower()
    if reason := wrong_header(name, value):
        raise Invalid({"value": reason})
    if name not in row.secret_headers and len(row.secret_headers) >= MOST_SECRETS:
        raise Conflict(f"a host has {MOST_SECRETS} secret headers at most: remove one first")
    sealed = vault.seal(value.encode(), row.workspace_id, _place(row.id, name))
    row.secret_headers = {**row.secret_headers, name: kept(sealed, value)}


def forget_secret(row: AgentWorkflowHost, name: str) -> None:
    """No call carries this header any more."""
    if name.lower() not in row.secret_headers:
        raise Missing(f"This host is sent no secret header {name}.")
    row.secret_headers = {known: value for known, value in row.secret_headers.items() if known != name.lower()}


def change(row: AgentWorkflowHost, values: Mapping[str, Any]) -> None:
    """The host has these values; one that is sent secrets stays the host it is."""
    if values.get("host", row.host) != row.host and row.secret_headers:
        raise Conflict("this host is sent secret headers: remove them before it becomes another, or list that one too")
    for name, value in values.items():
        setattr(row, name, value)


def opened(sealed: SealedHeader, vault: Vault, workspace_id: uuid.UUID) -> str:
    """What the header says; raises ``Unsealable``."""
    return vault.open(sealed_in(sealed.kept), workspace_id, sealed.place).decode()


async def covering(db: AsyncSession, workspace_id: uuid.UUID, url: httpx.URL) -> Sequence[AgentWorkflowHost]:
    """The rows that allow this address, the one that names it most closely last."""
    rows = await db.scalars(select(AgentWorkflowHost).where(AgentWorkflowHost.workspace_id == workspace_id))
    return sorted((row for row in rows if _covers(row.host, url)), key=lambda row: (row.host[0] != ".", len(row.host)))


async def secrets_for(db: AsyncSession, workspace_id: uuid.UUID, address: str) -> tuple[SealedHeader, ...]:
    """The headers that a call there carries, still sealed; raises ``Failed`` when the address cannot be read."""
    try:
        rows = await covering(db, workspace_id, outside.parsed(address))
    except outside.Refused as error:
        raise Failed("address", f"the url is no address: {error}") from None
    found = {
        name: SealedHeader(name, _place(row.id, name), value)
        for row in rows
        for name, value in row.secret_headers.items()
    }
    return tuple(found.values())


async def refusal_of(db: AsyncSession, workspace_id: uuid.UUID, address: str) -> str | None:
    """Why this address is not called, in words that follow its name; None when it may be.

    What comes after the host may depend on the run, the host itself may not.
    """
    begins, is_open, _ = address.partition("{{")
    if is_open and not re.match(r"[a-z]+://[^/?#]+[/?#]", begins):
        return "must name its host: only what comes after it may depend on the run"
    try:
        url = outside.parsed(begins)
    except outside.Refused:
        return "is no address"
    if url.scheme not in outside.PORTS or not outside.host_of(url):
        return "must begin with https://"
    if url.userinfo:
        return "must carry no user name: send a header"
    if outside.address_in(outside.host_of(url)) is not None:
        return "must name a host, not an address of the network"
    if not await covering(db, workspace_id, url):
        return f"names {url.netloc.decode()}, which is not among the workspace's agent-workflow-hosts"
    return None


def _covers(allowed: str, url: httpx.URL) -> bool:
    name, _, port = allowed.partition(":")
    if (url.port or outside.PORTS[url.scheme]) != int(port or 443):
        return False
    host = outside.host_of(url)
    return host.endswith(name) if name.startswith(".") else host == name


def wrong_header(name: str, value: Any) -> str | None:
    """Why such a header cannot be sent, in words that follow its name; None when it can."""
    if not _TOKEN.fullmatch(name):
        return "is no name of a header"
    if name.lower() in OURS:
        return "is set by comms"
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or len(value) > LONGEST_HEADER:
        return f"must be printable ASCII of {LONGEST_HEADER:,} characters at most"
    return None


def is_secret(name: str) -> bool:
    """Whether a header of that name is sent to prove who calls."""
    return _SECRET.search(name.lower()) is not None


def _place(host_id: uuid.UUID, name: str) -> uuid.UUID:
    """What a header is sealed for, beside its workspace: it does not open as another, nor as another host's."""
    return uuid.uuid5(host_id, name)
