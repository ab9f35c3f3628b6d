"""What of the log a member may hear: what ``comms.audience`` says, as the database understands it."""

from sqlalchemy import ColumnElement, Uuid, and_, any_, case, cast, func, not_, or_

from comms.audience import (
    ADMINISTRATIVE,
    ADMINISTRATORS,
    AGENTS,
    CLOSED,
    LEFT,
    NEEDS,
    OWNED,
    PERSONAL,
    WITHIN,
    lacks_of,
)
from comms.identity import Identity
from comms.team import closed_to
from models.events import Event


def heard_by(identity: Identity) -> list[ColumnElement[bool]]:
    """Conditions on ``Event``: what this member may hear of now."""
    mine = and_(Event.subject_type.in_(PERSONAL), Event.data["userId"].as_string() == str(identity.user_id))
    hidden = PERSONAL - ADMINISTRATIVE if identity.role in ADMINISTRATORS else PERSONAL | ADMINISTRATIVE
    lacks = lacks_of(identity.role, identity.permissions)
    closed = [noun for noun, need in NEEDS.items() if need in lacks]
    me = str(identity.user_id)
    own = [and_(Event.subject_type == noun, Event.data[field].as_string() == me) for noun, field in OWNED.items()]
    heard = [
        *_open_to(identity),
        or_(Event.subject_type.not_in(hidden), mine),
        or_(Event.subject_type.not_in(closed), *own),
    ]
    if AGENTS in lacks:
        heard.append(or_(func.split_part(Event.subject_type, "_", 1) != "agent", Event.subject_type.in_(NEEDS)))
    return heard


def _open_to(identity: Identity) -> list[ColumnElement[bool]]:
    """What is for some alone is for them; what happened in closed channels as long as they belong to them."""
    named = Event.data["channelId"].as_string()
    is_channel, is_within = Event.subject_type == "team_channel", Event.subject_type.in_(WITHIN)
    channel = case((is_channel, Event.subject_id), (is_within, cast(named, Uuid)))
    i_left = and_(Event.event == LEFT, Event.data["userId"].as_string() == str(identity.user_id))
    then = or_(Event.audience.is_(None), any_(Event.audience) == identity.user_id)
    still = channel.not_in(closed_to(identity))
    return [then, or_(not_(is_within), Event.event == CLOSED, i_left, still)]
