"""Invoices and expenses."""

from litestar import Router

from handlers.guards import reads, writes
from handlers.resource import crud
from models.finance import Expense, ExpenseView, Invoice, InvoiceView

invoices = crud(
    "/invoices",
    Invoice,
    InvoiceView,
    search=("invoice_number", "notes"),
    filters=("status", "customer_id", "project_id", "invoice_number", "currency", "due_date"),
    who_reads=reads("billing"),
    who_writes=writes("billing"),
)
expenses = crud(
    "/expenses",
    Expense,
    ExpenseView,
    search=("description", "vendor"),
    filters=("status", "category", "submitted_by", "project_id", "approved_by", "currency"),
)

routes = Router("/", tags=["finance"], route_handlers=[invoices.router(), expenses.router()])
