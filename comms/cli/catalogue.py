"""``comms catalogue``: the operator's own agent templates and packs."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import msgspec
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from comms.agents import catalogue
from comms.agents.catalogue import PackFile, TemplateFile
from comms.cli.running import running_database
from comms.database import Database, Urls
from comms.errors import CannotRun, Refused
from comms.settings import Settings

T = TypeVar("T")


def publish(settings: Settings, chosen: argparse.Namespace) -> int:
    """The file's template or pack is in the catalogue, as it says."""
    document = read(chosen.file)
    row_id = _done(settings, lambda db: catalogue.publish_as_operator(db, document))
    print(f"{document.slug} is published as {row_id}")
    return 0


def withdraw(settings: Settings, chosen: argparse.Namespace) -> int:
    """Nothing of that slug is published any more; exits 1 when nothing was."""
    withdrawn = _done(settings, lambda db: catalogue.withdraw_as_operator(db, chosen.slug))
    if not withdrawn:
        raise CannotRun(f"nothing is published as {chosen.slug}")
    print(f"{chosen.slug} is withdrawn: {' and '.join(withdrawn)}")
    return 0


def read(path: Path) -> TemplateFile | PackFile:
    """The document in a file; raises ``CannotRun`` with what is wrong with it."""
    try:
        sent: Any = msgspec.json.decode(path.read_bytes())
        if not isinstance(sent, dict):
            raise CannotRun(f"{path} does not hold a JSON object")
        # Money is a decimal string in JSON, here as everywhere.
        return msgspec.convert(sent, PackFile) if "agentTemplates" in sent else msgspec.convert(sent, TemplateFile)
    except OSError as error:
        raise CannotRun(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CannotRun(f"{path}: {error}") from None


def _done(settings: Settings, story: Callable[[AsyncSession], Awaitable[T]]) -> T:
    with running_database(settings) as (urls, _):
        return asyncio.run(_in_catalogue(urls, story))


async def _in_catalogue(urls: Urls, story: Callable[[AsyncSession], Awaitable[T]]) -> T:
    database = Database(urls, pool_size=1)
    try:
        async with database.everywhere() as db:
            return await story(db)
    except Refused as error:
        raise CannotRun(error.detail) from None
    except IntegrityError as error:
        raise CannotRun(f"the catalogue does not take this: {error.orig}") from None
    except (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = getattr(error, "orig", None) or error
        raise CannotRun(
            f"there is no catalogue: {reason}. Is the database up, and did `comms db upgrade` run?"
        ) from None
    finally:
        await database.close()
