"""The actions that comms knows how to do itself: what each needs to be told. Any other is the runtime's to do."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from comms import reading
from models.communications.handoffs import MOST_STEPS, Packet, Seconds, Step, Target

RECORDS = ("contacts", "customers", "crm-interactions", "deals", "projects", "prospects")
"""The resources of the CRM whose rows an action makes or changes, by the names in their addresses."""
Record = Literal["contacts", "customers", "crm-interactions", "deals", "projects", "prospects"]

Content = Annotated[str, msgspec.Meta(max_length=65_536)]
Files = Annotated[list[uuid.UUID], msgspec.Meta(max_length=10)]
Other = tuple[Literal["file", "number"], uuid.UUID]
"""A file that can be sent, or a number of ours."""


class Details(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """What an action is to be told."""

    @property
    def conversation(self) -> uuid.UUID | None:
        """The conversation that it is about, if it is about one."""
        return getattr(self, "conversation_id", None)

    @property
    def rows(self) -> list[uuid.UUID]:
        """The rows of the CRM that it is about, or that its values lead to."""
        return []

    @property
    def others(self) -> Mapping[str, Other]:
        """What else it names, by its place."""
        return {}


class SendMessage(Details, frozen=True, kw_only=True):
    """Something is said to a contact."""

    conversation_id: uuid.UUID
    content: Content = ""
    attachment_ids: Files = []

    @property
    def others(self) -> Mapping[str, Other]:
        return {f"attachmentIds[{place}]": ("file", one) for place, one in enumerate(self.attachment_ids)}


class DraftMessage(SendMessage, frozen=True, kw_only=True):
    """The same, for a person to send in their own name."""


class CreateRecord(Details, frozen=True, kw_only=True):
    """A row of the CRM is made."""

    resource: Record
    values: dict[str, Any]

    @property
    def rows(self) -> list[uuid.UUID]:
        return [id_ for name, value in self.values.items() if name.endswith("Id") and (id_ := _id(value)) is not None]


class UpdateRecord(CreateRecord, frozen=True, kw_only=True):
    """A row of the CRM is changed."""

    id: uuid.UUID

    @property
    def rows(self) -> list[uuid.UUID]:
        return [self.id, *super().rows]


class AssignConversation(Details, frozen=True, kw_only=True):
    """A conversation is a member's."""

    conversation_id: uuid.UUID
    user_id: uuid.UUID


class HandOffConversation(Details, frozen=True, kw_only=True):
    """A conversation is handed on, to a member, an agent, a team or whoever has the skills."""

    conversation_id: uuid.UUID
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=400)]
    target: Target
    packet: Packet = Packet()
    within_seconds: Seconds | None = None
    steps: Annotated[list[Step], msgspec.Meta(max_length=MOST_STEPS)] = []


class PlaceCall(Details, frozen=True, kw_only=True):
    """A contact is called: the phone of who approves it rings first."""

    to: Annotated[str, msgspec.Meta(max_length=40)]
    phone_number_id: uuid.UUID | None = None
    record: bool = False

    @property
    def others(self) -> Mapping[str, Other]:
        return {} if self.phone_number_id is None else {"phoneNumberId": ("number", self.phone_number_id)}


KNOWN: Mapping[str, type[Details]] = {
    "send_message": SendMessage,
    "draft_message": DraftMessage,
    "create_record": CreateRecord,
    "update_record": UpdateRecord,
    "assign_conversation": AssignConversation,
    "hand_off_conversation": HandOffConversation,
    "place_call": PlaceCall,
}
"""What comms does itself, by action type."""
MOVING = ("assign_conversation", "hand_off_conversation")
"""What changes whose a conversation is."""
GOING_ON = "workflow_approval"
"""What a step of a workflow asks: approved, the workflow goes on, and nothing else is done."""


def _id(value: Any) -> uuid.UUID | None:
    try:
        return uuid.UUID(value)
    except (AttributeError, TypeError, ValueError):
        return None


def read(action_type: str, details: Any) -> Details | None:
    """The details of an action of a type that comms knows, None of any other; ``Invalid`` names what is wrong."""
    shape = KNOWN.get(action_type)
    return None if shape is None else reading.read(shape, details, "details")
