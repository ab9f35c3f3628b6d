"""Segments: the contacts of whom certain things are true."""

from handlers.resource import crud
from models.marketing import Segment, SegmentView

segments = crud("/segments", Segment, SegmentView, search=("name", "description"), filters=("is_active",))

routes = [segments.router()]
