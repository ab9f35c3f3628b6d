"""Customers, and the projects that are done for them."""

from typing import Any

from litestar import Router
from sqlalchemy.ext.asyncio import AsyncSession

from comms import projects as planning
from comms.credentials import Identity
from handlers.resource import crud
from models.business import Customer, CustomerView, Project, ProjectView


async def create_project(db: AsyncSession, identity: Identity, values: dict[str, Any]) -> Project:
    """A project whose dates are in order."""
    return await planning.create(db, identity.workspace_id, values)


async def change_project(db: AsyncSession, identity: Identity, row: Project, values: dict[str, Any]) -> None:
    """A project whose dates are still in order, and whose invoices are its customer's."""
    await planning.change(db, row, values)


customers = crud(
    "/customers",
    Customer,
    CustomerView,
    search=("name", "email", "phone", "company"),
    filters=("status", "assigned_to", "contact_id", "email", "phone", "tags"),
)
projects = crud(
    "/projects",
    Project,
    ProjectView,
    search=("name", "description"),
    filters=("status", "customer_id", "manager_id"),
    create=create_project,
    change=change_project,
)

routes = Router("/", tags=["crm"], route_handlers=[customers.router(), projects.router()])
