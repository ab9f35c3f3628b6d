"""People who call the demo's numbers, below ``/simulators``: so the provider's API knows their lines.

``POST …/Callers.json`` has somebody call, ``GET …/Callers/{sid}.json`` says what they have heard. No provider has them.
"""

from comms.simulators.server import Asked, Reply, Route
from comms.simulators.telephone import CallsApi, Line, Person


def routes(api: CallsApi) -> list[Route]:
    """What is answered, to whoever may use the provider's API."""

    async def call(asked: Asked) -> Reply:
        form, second = asked.form, api.switchboard.second
        caller = Person(
            keys=tuple(form.get("Press", "")),
            message=form.get("Voicemail"),
            talks=float(form["Talk"]) / second,
            hangs_up=float(form["Patience"]) / second if "Patience" in form else None,
        )
        line = api.switchboard.ring(form["From"], form["To"], form["Url"], caller, status_url=form["StatusCallback"])
        return Reply(201, _shown(line))

    async def watch(asked: Asked) -> Reply:
        line = api.switchboard.lines.get(asked.named["sid"])
        return Reply(404, {"message": "Nobody has called so."}) if line is None else Reply(200, _shown(line))

    return [
        Route("POST", f"{api.root}/Callers.json", api.guarded(call)),
        Route("GET", f"{api.root}/Callers/{{sid}}.json", api.guarded(watch)),
    ]


def _shown(line: Line) -> dict[str, object]:
    return {"sid": line.sid, "status": line.status, "heard": line.heard, "isOver": line.is_over}
