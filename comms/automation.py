"""Automation rules: when one thing happens another is done, and what each of them needs to know.

A configuration has only the fields of its type. A draft may lack some; a rule that is active or paused has them all.
"""

import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms import conditions, mentions
from comms.errors import Conflict, Invalid
from comms.reasons import reason_of
from models.communications import ConversationChannel, WorkspacePhoneNumber
from models.crm import DealStage
from models.marketing import AutomationRule, Campaign, Segment

Line = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Writing = Annotated[str, msgspec.Meta(min_length=1, max_length=65_536)]
Address = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/]+", max_length=2_000)]
Days = Annotated[int, msgspec.Meta(ge=0, le=3_650)]
Field = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]

TRIGGERS: Mapping[str, Mapping[str, Any]] = {
    "lead_created": {"source": Line | None},
    "contact_created": {"source": Line | None},
    "contact_updated": {"field": Field | None},
    "tag_added": {"tag": Line},
    "segment_entered": {"segmentId": uuid.UUID},
    "lead_score_reached": {"score": Annotated[int, msgspec.Meta(ge=1, le=100)]},
    "deal_created": {},
    "deal_stage_changed": {"fromStage": DealStage | None, "toStage": DealStage | None},
    "deal_won": {},
    "deal_lost": {},
    "email_opened": {"campaignId": uuid.UUID | None},
    "email_clicked": {"campaignId": uuid.UUID | None},
    "message_received": {"channel": ConversationChannel | None, "contains": Line | None},
    "call_missed": {"phoneNumberId": uuid.UUID | None},
    "conversation_closed": {"channel": ConversationChannel | None},
    "invoice_overdue": {},
    "invoice_paid": {},
}
"""What each trigger can be narrowed to; what may be null may be left out."""

ACTIONS: Mapping[str, Mapping[str, Any]] = {
    "send_email": {"subject": Line, "body": Writing},
    "send_sms": {
        "body": Annotated[str, msgspec.Meta(min_length=1, max_length=1_600)],
        "phoneNumberId": uuid.UUID | None,
    },
    "create_task": {
        "title": Line,
        "description": Writing | None,
        "assignTo": uuid.UUID | None,
        "dueInDays": Days | None,
    },
    "update_field": {"field": Field, "value": Any},
    "add_tag": {"tag": Line},
    "remove_tag": {"tag": Line},
    "assign_owner": {"ownerId": uuid.UUID},
    "change_deal_stage": {"stage": DealStage},
    "add_to_campaign": {"campaignId": uuid.UUID},
    "notify_member": {"userId": uuid.UUID, "message": Writing},
    "call_webhook": {"url": Address},
}
"""What each action needs to know."""

_REFERRED: Mapping[str, Any] = {
    "segmentId": Segment.id,
    "campaignId": Campaign.id,
    "phoneNumberId": WorkspacePhoneNumber.id,
}
_MEMBERS = ("ownerId", "userId", "assignTo")
_SET_BY_US = frozenset({"leadScore", "lastContactedAt", "createdAt", "updatedAt"})


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> AutomationRule:
    """The rule exists; ``Invalid`` names what its configurations lack, or do not know."""
    await _check(db, workspace_id, values)
    rule = AutomationRule(workspace_id=workspace_id, **values)
    db.add(rule)
    return rule


async def change(db: AsyncSession, rule: AutomationRule, values: Mapping[str, Any]) -> None:
    """The rule has the new values, which fit together; an archived one comes back only as a draft."""
    if rule.status == "archived" and values.get("status", "draft") not in ("archived", "draft"):
        raise Conflict("this automation rule is archived: it can only become draft")
    said = ("trigger_type", "trigger_config", "action_type", "action_config", "status")
    if set(said) & set(values):
        whole = {name: values.get(name, getattr(rule, name)) for name in said}
        await _check(db, rule.workspace_id, whole, rule.action_config)
    for name, value in values.items():
        setattr(rule, name, value)


async def _check(
    db: AsyncSession,
    workspace_id: uuid.UUID,
    values: Mapping[str, Any],
    before: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    is_whole = values["status"] in ("active", "paused")
    trigger, action = values["trigger_config"], values["action_config"]
    wrong = _mistakes("triggerConfig", TRIGGERS[values["trigger_type"]], trigger, is_whole)
    wrong |= _mistakes("actionConfig", ACTIONS[values["action_type"]], action, is_whole)
    for name, config in (("triggerConfig", trigger), ("actionConfig", action)):
        field = config.get("field")
        if isinstance(field, str) and not _is_field(field, to_set=name == "actionConfig"):
            wrong.setdefault(f"{name}.field", "is no field of a contact that can be used here")
    if wrong:
        raise Invalid(wrong)
    for name, config in (("triggerConfig", trigger), ("actionConfig", action)):
        for part, column in _REFERRED.items():
            referred = config.get(part)
            if referred is not None and await db.scalar(select(column).where(column == uuid.UUID(referred))) is None:
                wrong[f"{name}.{part}"] = "refers to nothing in this workspace"
    members = {part: uuid.UUID(action[part]) for part in _MEMBERS if action.get(part) not in (None, before.get(part))}
    active = await mentions.active_of(db, workspace_id, set(members.values()))
    wrong |= {f"actionConfig.{part}": mentions.NOT_ACTIVE for part, user in members.items() if user not in active}
    if wrong:
        raise Invalid(wrong)


def _mistakes(name: str, fields: Mapping[str, Any], config: Mapping[str, Any], is_whole: bool) -> dict[str, str]:
    known = ", ".join(fields) or "nothing"
    wrong = {f"{name}.{part}": f"is not a field here: there is {known}" for part in config if part not in fields}
    for part, kind in fields.items():
        if part not in config:
            if is_whole and not _may_be_absent(kind):
                wrong[f"{name}.{part}"] = "is required once the rule is active"
            continue
        try:
            msgspec.convert(config[part], kind)
        except msgspec.ValidationError as error:
            place, reason = reason_of(error, kind)
            wrong[f"{name}.{part}{place}"] = reason
    return wrong


def _may_be_absent(kind: Any) -> bool:
    try:
        msgspec.convert(None, kind)
    except msgspec.ValidationError:
        return False
    return True


def _is_field(name: str, *, to_set: bool) -> bool:
    is_custom = name.startswith(conditions.CUSTOM) and len(name) > len(conditions.CUSTOM)
    return is_custom or (name in conditions.FIELDS and not (to_set and name in _SET_BY_US))
