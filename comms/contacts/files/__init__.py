"""Contacts in CSV files: read, previewed, imported in batches that can be resumed, and written."""

from comms.contacts.files.importing import RUN, run, start, upload
from comms.contacts.files.writing import lines

__all__ = ["RUN", "lines", "run", "start", "upload"]
