"""What is true: tables, their views, tenancy and migrations. Importing this package knows every table."""

from models import (
    access,
    agents,
    business,
    communications,
    core,
    crm,
    events,
    finance,
    hooks,
    idempotency,
    marketing,
    orchestration,
    routing,
    search,
)
from models.base import Base

__all__ = [
    "Base",
    "access",
    "agents",
    "business",
    "communications",
    "core",
    "crm",
    "events",
    "finance",
    "hooks",
    "idempotency",
    "marketing",
    "orchestration",
    "routing",
    "search",
]
