"""The people a business talks to, and the business it hopes to do with them."""

from models.crm.contacts import Contact, ContactPoint, ContactPointKind, ContactPointView, ContactStatus, ContactView
from models.crm.deals import (
    Deal,
    DealPriority,
    DealStage,
    DealStageChange,
    DealStageChangeView,
    DealView,
    OpenDealStage,
)
from models.crm.imports import (
    ContactImport,
    ContactImportError,
    ContactImportErrorView,
    ContactImportStatus,
    ContactImportView,
)
from models.crm.interactions import CrmInteraction, CrmInteractionView, InteractionDirection, InteractionType
from models.crm.merges import ContactMerge, ContactMergeView
from models.crm.prospects import Prospect, ProspectStage, ProspectView

__all__ = [
    "Contact",
    "ContactImport",
    "ContactImportError",
    "ContactImportErrorView",
    "ContactImportStatus",
    "ContactImportView",
    "ContactMerge",
    "ContactMergeView",
    "ContactPoint",
    "ContactPointKind",
    "ContactPointView",
    "ContactStatus",
    "ContactView",
    "CrmInteraction",
    "CrmInteractionView",
    "Deal",
    "DealPriority",
    "DealStage",
    "DealStageChange",
    "DealStageChangeView",
    "DealView",
    "InteractionDirection",
    "InteractionType",
    "OpenDealStage",
    "Prospect",
    "ProspectStage",
    "ProspectView",
]
