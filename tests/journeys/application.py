"""The application of the journeys' processes, made once by the process that forks them: it takes two seconds."""

import gc
from typing import Any

from comms.service import Service
from handlers import app

_API = app.create_api()
# It stays, in every process: whoever looks for garbage leaves it out, and with it nearly all there is.
gc.freeze()


def create_app(service: Service) -> Any:
    """What ``handlers.app.create_app`` makes, of routes that are there already."""
    return app.create_app(service, _API)
