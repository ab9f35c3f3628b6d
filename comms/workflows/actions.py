"""All that comms does by itself in a step; any other action is a task for the step's agent."""

from collections.abc import Mapping

from comms.agents.steps import Step
from comms.workflows import calling, crm, speaking, waiting
from comms.workflows.acting import Action

ACTIONS: Mapping[str, Action] = {**speaking.ACTIONS, **waiting.ACTIONS, **calling.ACTIONS, **crm.ACTIONS}


def action_of(step: Step) -> Action:
    """What the step does."""
    return ACTIONS.get(step.action, ACTIONS["agent_task"])
