"""Something to try comms with: a small workspace, and as many contacts and messages in it as one likes."""

from comms.demo.outside import simulators
from comms.demo.scale import fill
from comms.demo.workspace import (
    CORRESPONDENT,
    CUSTOMER,
    SIMULATORS,
    Demo,
    DemoConnection,
    base_url,
    introduction,
    make,
    path_in,
    read,
    with_simulators,
)

__all__ = [
    "CORRESPONDENT",
    "CUSTOMER",
    "SIMULATORS",
    "Demo",
    "DemoConnection",
    "base_url",
    "fill",
    "introduction",
    "make",
    "path_in",
    "read",
    "simulators",
    "with_simulators",
]
