"""Many rows in one request, each judged by itself: ``POST /<resource>/batch``.

All are made together, in a few statements however many they are. If one of them will not do, and whoever makes them
does not say which, each half is tried by itself, and so on: a savepoint for every row would cost more than the row.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from sqlalchemy.ext.asyncio import AsyncSession

from comms import mentions
from comms.credentials import Identity
from comms.database import attempt
from comms.errors import Invalid, Refused
from handlers import conflicts, shapes
from handlers.problems import Problem, encoded, problem_of
from handlers.signatures import own_of, sent, taking

Many = Sequence[dict[str, Any]]
"""The values of each of many rows."""

Story = Callable[..., Awaitable[Sequence[Any]]]
"""Makes many rows: for each the row, or what refuses it."""


def batch_shape(new: Any) -> type[msgspec.Struct]:
    """The body: up to 500 of what makes one row. They are read one by one, by whoever makes them."""
    about = msgspec.Meta(min_length=1, max_length=shapes.BATCH, description="What makes one row each.")
    rows: Any = Annotated[list[new], about]
    return msgspec.defstruct(
        f"{new.__name__}Batch", [("items", rows)], namespace={"row_by_row": True}, forbid_unknown_fields=True
    )


def results_shape(view: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The answer: what became of each row, in the order of the request."""
    name = view.__name__.removesuffix("View")
    result: Any = msgspec.defstruct(
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
    rows: Any = Annotated[list[result], msgspec.Meta(description="One for each row, in the order of the request.")]
    return msgspec.defstruct(f"{name}Results", [("results", rows)])


def batched(resource: Any, *, told: str | Callable[[Any], str] = "created") -> Callable[[Story], HTTPRouteHandler]:
    """A POST that makes many rows of ``resource``: the decorated function has parameters of its own, and ``many``.

    Those are the values of each row. It returns as many rows, of which nothing is told yet, or in the place of one what
    refuses it; what it raises refuses them all, and they are tried by halves.
    """
    results = results_shape(resource.view)

    def decorate(fn: Story) -> HTTPRouteHandler:
        async def make_all(db: Any, identity: Any, data: Any, **given: Any) -> Any:
            async def story(many: Many) -> Sequence[Any]:
                return await fn(db=db, identity=identity, many=many, **given)

            return {"results": await made(resource, db, identity, data.items, story, told)}

        data = inspect.Parameter("data", inspect.Parameter.KEYWORD_ONLY, annotation=sent(batch_shape(resource.new)))
        taking(make_all, [*own_of(fn, without="many"), data], results, fn.__doc__)
        many = resource.path.strip("/").replace("-", " ")
        return post(
            "/batch",
            operation_id=f"create_{resource.name}_batch",  # some plurals are no others than their singulars
            status_code=200,
            summary=f"Create many {many}",
            description=fn.__doc__ or f"Make up to {shapes.BATCH} {many}, each made or refused by itself.",
            guards=[resource.who_writes],
        )(make_all)

    return decorate


async def made(
    resource: Any,
    db: AsyncSession,
    identity: Identity,
    items: Sequence[Any],
    story: Story,
    told: str | Callable[[Any], str],
) -> list[dict[str, Any]]:
    """What became of each item: the row as GET shows it, or the problem it would have been answered with."""
    problems: dict[int, Problem] = {}
    wanted: dict[int, dict[str, Any]] = {}
    for index, item in enumerate(items):
        try:
            wanted[index] = shapes.given(shapes.read(resource.new, item))
        except Invalid as error:
            problems[index] = _problem(error)
    refusals = await mentions.unassignable(db, identity.workspace_id, resource.table, list(wanted.values()))
    problems |= {index: _problem(wrong) for index, wrong in zip(wanted, refusals, strict=True) if wrong is not None}
    wanted = {index: values for index, values in wanted.items() if index not in problems}
    rows = await _kept(resource, db, identity, wanted, problems, story)
    views = await resource.tell_all(db, identity, told, list(rows.values()))
    results = {index: {"index": index, "status": 201, "item": view} for index, view in zip(rows, views, strict=True)}
    for index, problem in problems.items():
        results[index] = {"index": index, "status": problem.status, "problem": msgspec.Raw(encoded(problem))}
    return [results[index] for index in range(len(items))]


async def _kept(
    resource: Any,
    db: AsyncSession,
    identity: Identity,
    wanted: Mapping[int, dict[str, Any]],
    problems: dict[int, Problem],
    story: Story,
) -> dict[int, Any]:
    """The rows that will do; what is wrong with each of the others is added to ``problems``."""
    if not wanted:
        return {}
    try:
        async with attempt(db):
            if len(wanted) == 1:
                [values] = wanted.values()
                async with conflicts.naming(db, resource.table, resource.visible(identity), values):
                    outcome = await story([values])
                    await db.flush()
            else:
                outcome = await story(list(wanted.values()))
                await db.flush()
    except Exception as error:
        problem = _problem(error)
    else:
        became = dict(zip(wanted, outcome, strict=True))
        problems |= {index: _problem(row) for index, row in became.items() if isinstance(row, Refused)}
        return {index: row for index, row in became.items() if not isinstance(row, Refused)}
    if len(wanted) == 1:
        problems |= dict.fromkeys(wanted, problem)
        return {}
    pairs, half = list(wanted.items()), len(wanted) // 2
    before = await _kept(resource, db, identity, dict(pairs[:half]), problems, story)
    return before | await _kept(resource, db, identity, dict(pairs[half:]), problems, story)


def _problem(error: Exception) -> Problem:
    """What is wrong with a row; raised on when it is our own fault or the database's, and so the whole batch's."""
    problem, _ = problem_of(error, "POST")
    if problem.status >= 500:
        raise error
    return problem
