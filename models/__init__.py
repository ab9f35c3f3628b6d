"""What is true: tables, their views, tenancy and migrations. Importing this package knows every table."""

from models import communications, core, crm, events, idempotency
from models.base import Base

__all__ = ["Base", "communications", "core", "crm", "events", "idempotency"]
