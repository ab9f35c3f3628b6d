"""Many rows in one request, each judged by itself: ``POST /<resource>/batch``.

All are made together, plain rows by a single statement. If one of them will not do, each half is tried by itself, and
so on: a savepoint for every row would cost more than the row.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from sqlalchemy.ext.asyncio import AsyncSession

from comms.credentials import Identity
from comms.database import attempt
from comms.errors import Invalid
from handlers import shapes
from handlers.given import Asker, Db
from handlers.problems import Problem, encoded, problem_of


def batch_shape(new: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The body: up to 500 of what makes one row. They are read one by one, by whoever makes them."""
    about = msgspec.Meta(min_length=1, max_length=shapes.BATCH, description="What makes one row each.")
    rows: Any = Annotated[list[new], about]  # type: ignore[valid-type]  # a type made at run time
    return msgspec.defstruct(
        f"{new.__name__}Batch", [("items", rows)], namespace={"row_by_row": True}, forbid_unknown_fields=True
    )


def results_shape(view: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The answer: what became of each row, in the order of the request."""
    name = view.__name__.removesuffix("View")
    result = msgspec.defstruct(
        f"{name}Result",
        [
            ("index", Annotated[int, msgspec.Meta(description="Its place in the request, from 0.", examples=[0])]),
            ("status", Annotated[int, msgspec.Meta(description="201, or the problem's.", examples=[201])]),
            ("item", Annotated[view | msgspec.UnsetType, msgspec.Meta(description="The new row.")], msgspec.UNSET),
            (
                "problem",
                Annotated[Problem | msgspec.UnsetType, msgspec.Meta(description="Why there is none.")],
                msgspec.UNSET,
            ),
        ],
    )
    rows: Any = list[result]  # type: ignore[valid-type]  # a type made at run time
    rows = Annotated[rows, msgspec.Meta(description="One for each row, in the order of the request.")]
    return msgspec.defstruct(f"{name}Results", [("results", rows)])


def batched(resource: Any) -> HTTPRouteHandler:
    """The route that makes many rows of ``resource`` as its ``create`` makes one."""
    results = results_shape(resource.view)

    async def make_all(db: Db, identity: Asker, data: Any) -> Any:
        return {"results": await made(resource, db, identity, data.items)}

    new: Any = JSONBody[batch_shape(resource.new)]  # type: ignore[misc]  # a type made at run time
    make_all.__annotations__ |= {"data": new, "return": results}
    name = f"create_{resource.name}_batch"  # some plurals are no others than their singulars
    many = resource.path.strip("/").replace("-", " ")
    return post(
        "/batch",
        operation_id=name,
        status_code=200,
        summary=f"Create many {many}",
        description=f"Make up to {shapes.BATCH} {many}, each made or refused by itself.",
        guards=[resource.who_writes],
    )(make_all)


async def made(resource: Any, db: AsyncSession, identity: Identity, items: Sequence[Any]) -> list[dict[str, Any]]:
    """What became of each item: the row as GET shows it, or the problem it would have been answered with."""
    problems: dict[int, Any] = {}
    wanted: dict[int, Any] = {}
    for index, sent in enumerate(items):
        try:
            wanted[index] = shapes.read(resource.new, sent)
        except Invalid as error:
            problems[index] = _problem(error)
    rows = await _kept(resource, db, identity, wanted, problems)
    views = await resource.tell_all(db, identity, "created", list(rows.values()))
    results = {index: {"index": index, "status": 201, "item": view} for index, view in zip(rows, views, strict=True)}
    for index, problem in problems.items():
        results[index] = {"index": index, "status": problem.status, "problem": msgspec.Raw(encoded(problem))}
    return [results[index] for index in range(len(items))]


async def _kept(
    resource: Any, db: AsyncSession, identity: Identity, wanted: Mapping[int, Any], problems: dict[int, Any]
) -> dict[int, Any]:
    """The rows that will do; what is wrong with each of the others is added to ``problems``."""
    if not wanted:
        return {}
    make = resource.make if len(wanted) == 1 else resource.create
    try:
        async with attempt(db):
            rows = {index: await make(db, identity, shapes.given(new)) for index, new in wanted.items()}
            await db.flush()
        return rows
    except Exception as error:
        problem = _problem(error)
    if len(wanted) == 1:
        problems.update(dict.fromkeys(wanted, problem))
        return {}
    pairs, half = list(wanted.items()), len(wanted) // 2
    before = await _kept(resource, db, identity, dict(pairs[:half]), problems)
    return before | await _kept(resource, db, identity, dict(pairs[half:]), problems)


def _problem(error: Exception) -> Problem:
    """What is wrong with a row; raised on when it is our own fault or the database's, and so the whole batch's."""
    problem, _ = problem_of(error, "POST")
    if problem.status >= 500:
        raise error
    return problem
