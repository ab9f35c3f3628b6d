"""What is true: tables, their views, tenancy and migrations. Importing this package knows every table."""

from models import business, communications, core, crm, events, finance, marketing
from models.base import Base

__all__ = ["Base", "business", "communications", "core", "crm", "events", "finance", "marketing"]
