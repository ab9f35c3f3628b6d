"""Projects: they end no earlier than they start."""

import uuid
from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from comms.errors import Invalid
from models.business import Project


async def create(db: AsyncSession, workspace_id: uuid.UUID, values: Mapping[str, Any]) -> Project:
    """The project exists; ``Invalid`` names the date that is before its start."""
    _expect_order(values)
    project = Project(workspace_id=workspace_id, **values)
    db.add(project)
    return project


async def change(db: AsyncSession, project: Project, values: Mapping[str, Any]) -> None:
    """The project has the new values; ``Invalid`` names the date that is before its start."""
    dates = {name: getattr(project, name) for name in ("start_date", "end_date", "actual_end_date")}
    _expect_order({**dates, **values})
    for name, value in values.items():
        setattr(project, name, value)


def _expect_order(values: Mapping[str, Any]) -> None:
    start: date | None = values.get("start_date")
    ends = {"endDate": values.get("end_date"), "actualEndDate": values.get("actual_end_date")}
    wrong = {
        name: f"must not be before startDate ({start})"
        for name, end in ends.items()
        if start is not None and end is not None and end < start
    }
    if wrong:
        raise Invalid(wrong)
