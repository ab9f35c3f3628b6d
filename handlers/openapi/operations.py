"""Operations: who may, what is sent and answered, and what can go wrong with each."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, get_args, get_origin

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from comms.permissions import EVERYBODY
from handlers.guards import SCOPES, Open, Right, is_open, rights_of
from handlers.idempotency import HEADER
from handlers.openapi import examples, headers, words
from handlers.openapi.schemas import Schema, Schemas
from handlers.preconditions import SAFE
from handlers.problems import MEDIA_TYPE, FieldError, Problem, encoded
from handlers.resource import RESOURCES

JSON = "application/json"

PROBLEMS: Mapping[int, tuple[str, Problem]] = {
    400: (
        "Something in the body or the query is not as it must be; `errors` names every field.",
        Problem(
            400,
            detail="phone is not a phone number in international form, such as +14155550123",
            errors=[FieldError("phone", "is not a phone number in international form, such as +14155550123")],
        ),
    ),
    401: (
        "There is no valid credential.",
        Problem(401, detail="Send a valid access token as `Authorization: Bearer …`."),
    ),
    403: (
        "The credential is valid, and this member or this token may not do it.",
        Problem(403, detail="A workspace's viewer may not do this: it takes owner or admin or member."),
    ),
    404: (
        "There is no such row in this workspace.",
        Problem(404, detail="There is no contact 0198c0de-5000-7fb0-9a6f-6d2c3f1e8b11 in this workspace."),
    ),
    409: (
        "It contradicts what is already there; `errors` names the fields where it can.",
        Problem(
            409,
            detail="another row of this workspace already has this phoneNumber",
            errors=[FieldError("phoneNumber", "is taken")],
        ),
    ),
    412: (
        "The row has changed since the version that `If-Match` names: look at it again.",
        Problem(412, detail=f"This has changed since: its ETag is now {headers.TAG}."),
    ),
    413: ("The body is too large.", Problem(413, detail="Request Entity Too Large")),
    415: (
        "The body is not of a type that is read here.",
        Problem(415, detail="Send the body as application/json, and say so in Content-Type."),
    ),
    422: (
        "This `Idempotency-Key` was used for another request.",
        Problem(422, detail="This Idempotency-Key belongs to a request with another body."),
    ),
    429: ("Too many requests: wait as long as `Retry-After` says.", Problem(429, detail="Too many tries.")),
    503: (
        "The database cannot be reached, or others changed the same rows: try again after `Retry-After` seconds.",
        Problem(503, detail="The database cannot be reached right now: try again."),
    ),
}
_HEADERS: Mapping[int, tuple[str, str, Schema]] = {
    412: ("ETag", "The version that the row has now.", {"type": "string", "examples": [headers.TAG]}),
    401: ("WWW-Authenticate", "How to authenticate.", {"type": "string", "examples": ['Bearer realm="comms"']}),
    415: ("Accept", "What is read here.", {"type": "string", "examples": [JSON]}),
    429: ("Retry-After", "Seconds to wait.", {"type": "integer", "examples": [30]}),
    503: ("Retry-After", "Seconds to wait.", {"type": "integer", "examples": [1]}),
}
_RESPONSES = "#/components/responses/"
_DECLARED = {
    "list": "The {nouns} you may see, a page at a time.",
    "get": "One {noun}.",
    "create": "Make {a_noun}.",
    "change": "Change what is sent of {a_noun}, and keep the rest.",
}


def described(handler: HTTPRouteHandler, raw: Schema, schemas: Schemas) -> Schema:
    """An operation as the document has it; ``raw`` is how Litestar sees it."""
    rights = rights_of(handler)
    operation: Schema = {
        "operationId": raw["operationId"],
        "tags": raw.get("tags", []),
        "summary": handler.summary or words.words_of(raw["operationId"]).capitalize(),
        "description": "\n\n".join(part for part in (_story(handler), _who_may(rights)) if part),
    }
    if raw.get("security") and not is_open(handler):
        operation["security"] = raw["security"]
    parameters = [_parameter(parameter, handler) for parameter in raw.get("parameters", [])]
    names_a_row = any(parameter["in"] == "path" for parameter in parameters)
    parameters += headers.asked(handler, _answer_of(handler), names_a_row=names_a_row)
    if parameters:
        operation["parameters"] = parameters
    body = _body(handler, schemas)
    if body is not None:
        operation["requestBody"] = body
    responses = {str(handler.status_code): _success(handler, schemas)}
    if handler.opt.get("may_make"):
        responses["201"] = responses["200"] | {"description": "It was not there before, and is made."}
    if any(parameter["name"] == "If-None-Match" for parameter in parameters):
        responses["304"] = {"description": "It has not changed.", "headers": {"ETag": headers.ETAG}}
    refused = set(_refusals(handler, rights, parameters, has_body=body is not None, secured="security" in operation))
    for status in refused | set(_declared(handler)):
        responses[str(status)] = _refusal(handler, status, schemas)
    operation["responses"] = dict(sorted(responses.items()))
    return operation


def shared_responses(schemas: Schemas) -> dict[str, Schema]:
    """The problems that are the same wherever they occur, under the names of their statuses."""
    return {_name(status): _problem(status, said, schemas) for status, (said, _) in PROBLEMS.items()}


def _story(handler: HTTPRouteHandler) -> str:
    told = words.plain(handler.description or handler.fn.__doc__ or "")
    for resource in RESOURCES:
        for verb, sentence in _DECLARED.items():
            names = (f"{verb}_{resource.name}", f"list{resource.path.replace('/', '_').replace('-', '_')}")
            if handler.operation_id in names and told == words.plain(resource.view.__doc__ or ""):
                noun = words.noun_of(resource.view.__name__.removesuffix("View"))
                said = sentence.format(noun=noun, nouns=words.plural_of(noun), a_noun=words.a(noun))
                return f"{said}\n\n{told}"
    return told


def _who_may(declared: Sequence[Right | Open]) -> str:
    if not declared:
        return ""
    rights = [right for right in declared if isinstance(right, Right)]
    if not rights:
        return "**Who may:** anybody, without a credential."
    widest = max((right.scope for right in rights), key=SCOPES.index)
    scope = f"A token with scopes needs `{widest}`" + (" or a wider one." if widest != "admin" else ".")
    if any(right.is_agents for right in rights):
        return f"**Who may:** an agent, by a token of its own. {scope}"
    usual = [role for role in EVERYBODY if all(right.admits_role(role) for right in rights)]
    needed = " and ".join(str(right) for right in rights if right.area is not None)
    if needed:
        return f"**Who may:** members with {needed}; by their role alone {', '.join(usual)}. {scope}"
    return f"**Who may:** {' or '.join(usual) if len(usual) < len(EVERYBODY) else 'every member'}. {scope}"


def _parameter(raw: Schema, handler: HTTPRouteHandler) -> Schema:
    schema = _parameter_schema(raw.get("schema", {}))
    name = raw["name"]
    parameter = {"name": name, "in": raw["in"], "required": raw["in"] == "path" or raw.get("required", False)}
    said = raw.get("description") or schema.pop("description", None)
    if not said and raw["in"] == "path":
        noun = next((r.name for r in RESOURCES if str(handler.operation_id).endswith(f"_{r.name}")), "row")
        thing = noun if name == "row_id" else name.removesuffix("_id")
        said = f"The id of the {thing.replace('_', ' ')}."
    if not said and raw["in"] == "query":
        said = f"Only those with this `{name}`."
    schema.pop("description", None)
    parameter |= {"description": said or "", "schema": schema}
    example = schema.get("default", examples.of(name, schema))
    if name != "cursor":
        parameter["example"] = example
    return parameter


def _parameter_schema(raw: Schema) -> Schema:
    """Without null, which an address cannot say otherwise than by leaving the parameter out."""
    options = [option for option in raw.get("oneOf", []) if option.get("type") != "null"]
    schema = {key: value for key, value in raw.items() if key not in ("oneOf", "title")}
    if len(options) == 1:
        schema |= options[0]
    elif options:
        schema["anyOf"] = options
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        schema["type"] = kinds[0] if len(kinds) == 1 else kinds
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    for bound in ("minimum", "maximum"):
        if isinstance(schema.get(bound), float) and schema[bound].is_integer():
            schema[bound] = int(schema[bound])
    if schema.get("default", ...) is None:
        del schema["default"]
    return schema


def _body(handler: HTTPRouteHandler, schemas: Schemas) -> Schema | None:
    declared = handler.parsed_fn_signature.parameters.get("data")
    if declared is not None:
        schema = schemas.of(declared.annotation)
        example = handler.opt.get("example", schemas.example_of(schema))
        is_required = any(field.required for field in msgspec.structs.fields(declared.annotation))
        return {"required": is_required, "content": {JSON: {"schema": schema, "example": example}}}
    if consumes := handler.opt.get("consumes"):
        example = handler.opt.get("example", "")
        return {"required": True, "content": {consumes: {"schema": {"type": "string"}, "example": example}}}
    return None


def _success(handler: HTTPRouteHandler, schemas: Schemas) -> Schema:
    answer = _answer_of(handler)
    if handler.status_code == HTTPStatus.NO_CONTENT or answer in (None, type(None)):
        return {"description": "Done."}
    if not _is_json(answer):
        media_type = str(getattr(handler.media_type, "value", None) or handler.media_type or "*/*")
        example = handler.opt.get("answers", "…")
        return {"description": "As it is.", "content": {media_type: {"schema": {"type": "string"}, "example": example}}}
    schema = schemas.of(answer)
    said = words.about(_struct_name(schema), answer) if "$ref" in schema else "What was asked for."
    example = handler.opt.get("answers", schemas.example_of(schema))
    response: Schema = {"description": said, "content": {JSON: {"schema": schema, "example": example}}}
    told = headers.told(handler, answer)
    return response | ({"headers": told} if told else {})


def _answer_of(handler: HTTPRouteHandler) -> Any:
    annotation = handler.parsed_fn_signature.return_type.annotation
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, Response):
        return (get_args(annotation) or (bytes,))[0]
    return annotation


def _is_json(answer: Any) -> bool:
    return answer not in (bytes, str) and not (isinstance(answer, type) and issubclass(answer, Response))


def _struct_name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _refusals(
    handler: HTTPRouteHandler,
    rights: Sequence[Right | Open],
    parameters: list[Schema],
    *,
    has_body: bool,
    secured: bool,
) -> Iterator[int]:
    """The statuses of problems that this operation can end in."""
    places = {parameter["in"] for parameter in parameters}
    understood = {parameter["name"] for parameter in parameters if parameter["in"] == "header"}
    methods = handler.http_methods
    if has_body or places & {"query", "header"} or (rights and methods - SAFE):  # of a header that is not honoured
        yield 400
    if has_body:
        yield from (413, 415)
    if "path" in places:
        yield 404
    if rights:
        yield 503
    if secured:
        yield 401
        if not all(isinstance(right, Right) and right.is_everybodys for right in rights):
            yield 403
    if any(isinstance(right, Right) and right.is_agents for right in rights):
        yield 429
    if methods - {"GET", "HEAD"}:
        yield 409
    if "If-Match" in understood:
        yield 412
    if HEADER in understood:
        yield 422


def _declared(handler: HTTPRouteHandler) -> Iterator[int]:
    """Statuses declared beside the route, as ``problems={429: "…"}`` or in Litestar's ``responses``."""
    yield from handler.opt.get("problems", {})
    yield from handler.responses or {}


def _refusal(handler: HTTPRouteHandler, status: int, schemas: Schemas) -> Schema:
    spec = (handler.responses or {}).get(status)
    if spec is not None and spec.data_container is not Problem:
        schema = schemas.of(spec.data_container)
        content = {JSON: {"schema": schema, "example": handler.opt.get("answers", schemas.example_of(schema))}}
        return {"description": spec.description, "content": content}
    said = handler.opt.get("problems", {}).get(status) or (spec.description if spec is not None else None)
    return _problem(status, said, schemas) if said else {"$ref": _RESPONSES + _name(status)}


def _problem(status: int, said: str, schemas: Schemas) -> Schema:
    example = PROBLEMS[status][1] if status in PROBLEMS else Problem(status, detail=said)
    content = {"schema": schemas.of(Problem), "example": msgspec.json.decode(encoded(example))}
    response: Schema = {"description": said, "content": {MEDIA_TYPE: content}}
    if status in _HEADERS:
        name, meaning, schema = _HEADERS[status]
        response["headers"] = {name: {"description": meaning, "schema": schema}}
    return response


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "")
