"""Contacts as marketing asks for them; they are declared with the rest of the CRM, and look the same here."""

from handlers.listing import Listing
from handlers.resource import Resource
from models.crm import Contact, ContactView

people = Resource(
    "/contacts",
    Contact,
    ContactView,
    Listing(
        Contact,
        ContactView,
        search=("first_name", "last_name", "email", "phone", "company"),
        filters=("status", "owner_id", "source", "tags"),
    ),
)
