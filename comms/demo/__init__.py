"""Something to try comms with: a small workspace, and as many contacts and messages in it as one likes.

This much is what its clients need. What makes it, what is outside of it and what fills it is imported by name.
"""

from comms.demo.written import (
    CORRESPONDENT,
    CUSTOMER,
    SIMULATORS,
    Demo,
    DemoConnection,
    base_url,
    introduction,
    path_in,
    read,
    with_simulators,
    write,
)

__all__ = [
    "CORRESPONDENT",
    "CUSTOMER",
    "SIMULATORS",
    "Demo",
    "DemoConnection",
    "base_url",
    "introduction",
    "path_in",
    "read",
    "with_simulators",
    "write",
]
