"""Workflows of agents and their runs."""

from handlers.guards import reads, writes
from handlers.resource import READ, crud
from models.orchestration import (
    AgentWorkflow,
    AgentWorkflowExecution,
    AgentWorkflowExecutionView,
    AgentWorkflowView,
)

workflows = crud(
    "/agent-workflows",
    AgentWorkflow,
    AgentWorkflowView,
    search=("name", "description"),
    filters=("status", "team_id", "trigger_type", "category"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)
executions = crud(
    "/agent-workflow-executions",
    AgentWorkflowExecution,
    AgentWorkflowExecutionView,
    filters=("workflow_id", "status", "trigger_type", "triggered_by"),
    verbs=READ,
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)

routes = [workflows.router(), executions.router()]
