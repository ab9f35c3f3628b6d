"""Administrators hear of what comms itself has switched off: endpoints that take nothing, workflows that explode."""

from collections.abc import Iterator

from comms.notifications.occasions import LONGEST, Occasion, Told


def endpoint(told: Told) -> Iterator[Occasion]:
    """A webhook endpoint was switched off."""
    title = f"The webhook endpoint {told.data['name']} was switched off"
    yield _switched_off(told, title, "disabledReason", "webhook_endpoint", "endpointId")


def workflow(told: Told) -> Iterator[Occasion]:
    """A workflow was paused."""
    yield _switched_off(
        told, f"The workflow {told.data['name']} was paused", "stoppedReason", "agent_workflow", "workflowId"
    )


def _switched_off(told: Told, title: str, reason: str, noun: str, field: str) -> Occasion:
    return Occasion(
        told=told,
        kind="failed_send",
        group_key=f"failed_send:{told.id}",
        title=title[:LONGEST],
        text=told.data[reason],
        subject=(noun, told.id),
        link=f"/{noun.replace('_', '-')}s/{told.id}",
        data={field: str(told.id)},
        circles=("somebody",),
    )
