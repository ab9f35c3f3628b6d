"""Customers, and the projects that are done for them."""

from litestar import Router

from handlers.resource import crud
from models.business import Customer, CustomerView, Project, ProjectView

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
)

routes = Router("/", tags=["crm"], route_handlers=[customers.router(), projects.router()])
