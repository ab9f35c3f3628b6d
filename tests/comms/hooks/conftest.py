"""A sink, for whoever is told something."""

from collections.abc import AsyncIterator

import pytest

from tests.make.hooks import Sink, sink


@pytest.fixture(name="sink")
async def opened() -> AsyncIterator[Sink]:
    async with sink() as made:
        yield made
