"""Bodies that are waited for, but not for ever: whoever sends a byte a minute holds no place here."""

import asyncio
from typing import Any

from litestar.exceptions import HTTPException

from handlers.methods import Receive

SECONDS = 120.0  # 25 MB over a slow line


class TooSlow(HTTPException):
    """What was announced has not come in time."""

    status_code = 408

    def __init__(self) -> None:
        super().__init__(detail="The body has not come in time. Send it again.", headers={"Connection": "close"})


def in_time(receive: Receive) -> Receive:
    """``receive`` that raises ``TooSlow`` when the body takes longer; what comes after it may take its time."""
    deadline = asyncio.get_running_loop().time() + SECONDS
    is_whole = False

    async def received() -> Any:
        nonlocal is_whole
        if is_whole:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError as error:
            raise TooSlow from error
        is_whole = not message.get("more_body", False)
        return message

    return received
