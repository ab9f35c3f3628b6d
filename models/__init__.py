"""What is true: tables, their views, tenancy and migrations. Importing this package knows every table."""

from models import agents, business, communications, core, crm, events, finance, marketing, orchestration
from models.base import Base

__all__ = [
    "Base",
    "agents",
    "business",
    "communications",
    "core",
    "crm",
    "events",
    "finance",
    "marketing",
    "orchestration",
]
