"""What is true: tables, their views, tenancy and migrations. Importing this package knows every table."""

from models import access, communications, core, crm, events
from models.base import Base

__all__ = ["Base", "access", "communications", "core", "crm", "events"]
