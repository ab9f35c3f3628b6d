"""What agents ask before they act, and what they did."""

from handlers.guards import reads, writes
from handlers.resource import READ, crud
from models.orchestration import (
    AgentActionAuditLog,
    AgentActionAuditLogView,
    AgentPendingAction,
    AgentPendingActionView,
)

pending = crud(
    "/agent-pending-actions",
    AgentPendingAction,
    AgentPendingActionView,
    search=("title", "description"),
    filters=("status", "risk_level", "action_type", "agent_id", "team_id", "reviewed_by"),
    verbs=("list", "get", "create"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)
audit = crud(
    "/agent-action-audit-log",
    AgentActionAuditLog,
    AgentActionAuditLogView,
    filters=("agent_id", "team_id", "action_type", "success", "triggered_by"),
    verbs=READ,
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)

routes = [pending.router(), audit.router()]
