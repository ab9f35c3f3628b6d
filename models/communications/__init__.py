"""Conversations with the outside and channels within: the tables of the schema map's section *Communications*."""

from models.communications.conversations import (
    MOST_TAGS,
    Conversation,
    ConversationChannel,
    ConversationMessage,
    ConversationMessageView,
    ConversationParticipant,
    ConversationParticipantView,
    ConversationStatus,
    ConversationView,
    MessageAttachment,
    MessageAttachmentView,
    MessageDirection,
    MessageStatus,
)
from models.communications.numbers import WorkspacePhoneNumber, WorkspacePhoneNumberView
from models.communications.outbox import OutgoingMessage, OutgoingMessageView, OutgoingState
from models.communications.team import (
    Notification,
    NotificationView,
    TeamChannel,
    TeamChannelMember,
    TeamChannelMemberView,
    TeamChannelView,
    TeamMessage,
    TeamMessageView,
)
from models.communications.webhooks import (
    DeliveryReportRow,
    DeliveryReportView,
    WebhookReceipt,
    WebhookReceiptView,
)

__all__ = [
    "MOST_TAGS",
    "Conversation",
    "ConversationChannel",
    "ConversationMessage",
    "ConversationMessageView",
    "ConversationParticipant",
    "ConversationParticipantView",
    "ConversationStatus",
    "ConversationView",
    "DeliveryReportRow",
    "DeliveryReportView",
    "MessageAttachment",
    "MessageAttachmentView",
    "MessageDirection",
    "MessageStatus",
    "Notification",
    "NotificationView",
    "OutgoingMessage",
    "OutgoingMessageView",
    "OutgoingState",
    "TeamChannel",
    "TeamChannelMember",
    "TeamChannelMemberView",
    "TeamChannelView",
    "TeamMessage",
    "TeamMessageView",
    "WebhookReceipt",
    "WebhookReceiptView",
    "WorkspacePhoneNumber",
    "WorkspacePhoneNumberView",
]
