"""What is true: tables, their views, tenancy and migrations. Importing this package knows every table."""

from models import agents, communications, core, crm, events, orchestration
from models.base import Base

__all__ = ["Base", "agents", "communications", "core", "crm", "events", "orchestration"]
