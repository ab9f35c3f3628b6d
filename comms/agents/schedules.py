"""When agents run by themselves: by the clock, or when their webhook is called."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import states
from comms.agents.clock import next_run
from comms.errors import Conflict, Invalid
from comms.hooks import signing
from comms.vault import Sealed, Vault
from models.agents import Agent, AgentSchedule
from models.base import now

_IV, _TAG = 12, 16


def keep(row: AgentSchedule, values: Mapping[str, Any], at: datetime | None = None) -> None:
    """The schedule has these values, and comes due when they say; ``Invalid`` when they do not go together."""
    for name, value in values.items():
        setattr(row, name, value)
    if row.trigger_type == "scheduled" and row.cron is None:
        raise Invalid({"cron": "is required when triggerType is scheduled"})
    come_due(row, at or now())


async def expect_agent(db: AsyncSession, row: AgentSchedule) -> None:
    """The schedule's agent is not archived; raises ``Invalid``. One that is not there is the foreign key's to name."""
    if "archived agents" not in db.info:  # of a batch, once
        query = select(Agent.id).where(Agent.workspace_id == row.workspace_id, Agent.status == "archived")
        with db.no_autoflush:
            db.info["archived agents"] = set(await db.scalars(query))
    if row.agent_id in db.info["archived agents"]:
        raise Invalid({"agentId": states.ARCHIVED})


def come_due(row: AgentSchedule, after: datetime) -> None:
    """``next_run_at`` is the first time after ``after``; none for a schedule that is off or has no clock."""
    row.next_run_at = None
    if row.trigger_type == "scheduled" and row.enabled and row.cron is not None:
        row.next_run_at = next_run(row.cron, row.timezone, after)


def renew_secret(row: AgentSchedule, vault: Vault, public_url: str) -> str:
    """The webhook is called with a new secret, which is returned here and never again; the one before is void."""
    if row.trigger_type != "webhook":
        raise Conflict(f"this schedule's triggerType is {row.trigger_type}: only webhook has a secret")
    plain = signing.new_secret()
    sealed = vault.seal(plain.encode(), row.workspace_id, row.id)
    row.webhook_url = f"{public_url}/webhooks/agents/{row.workspace_id}/{row.id}"
    row.webhook_secret = sealed.iv + sealed.auth_tag + sealed.encrypted_key
    row.webhook_secret_key_id = sealed.key_id
    row.webhook_secret_last_four = plain[-4:]
    return plain


def secret_of(row: AgentSchedule, vault: Vault) -> bytes | None:
    """What calls of this schedule's webhook are signed with; None when it was never made."""
    kept, key_id = row.webhook_secret, row.webhook_secret_key_id
    if kept is None or key_id is None:
        return None
    sealed = Sealed(key_id=key_id, iv=kept[:_IV], auth_tag=kept[_IV : _IV + _TAG], encrypted_key=kept[_IV + _TAG :])
    return vault.open(sealed, row.workspace_id, row.id)
