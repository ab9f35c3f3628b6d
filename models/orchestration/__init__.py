"""Agents together: teams, messages, workflows, what they remember, and what they ask before they act."""

from models.orchestration.actions import (
    ActionStatus,
    ActionTrigger,
    AgentActionAuditLog,
    AgentActionAuditLogView,
    AgentPendingAction,
    AgentPendingActionView,
    RiskLevel,
)
from models.orchestration.memory import AgentSharedMemory, AgentSharedMemoryView, MemoryCategory, MemoryTier
from models.orchestration.messages import AgentMessage, AgentMessageStatus, AgentMessageType, AgentMessageView
from models.orchestration.teams import (
    AgentTeam,
    AgentTeamMember,
    AgentTeamMemberView,
    AgentTeamView,
    Department,
    TeamRole,
    TeamStatus,
)
from models.orchestration.workflows import (
    AgentWorkflow,
    AgentWorkflowExecution,
    AgentWorkflowExecutionView,
    AgentWorkflowView,
    WorkflowExecutionStatus,
    WorkflowStatus,
    WorkflowTrigger,
)

__all__ = [
    "ActionStatus",
    "ActionTrigger",
    "AgentActionAuditLog",
    "AgentActionAuditLogView",
    "AgentMessage",
    "AgentMessageStatus",
    "AgentMessageType",
    "AgentMessageView",
    "AgentPendingAction",
    "AgentPendingActionView",
    "AgentSharedMemory",
    "AgentSharedMemoryView",
    "AgentTeam",
    "AgentTeamMember",
    "AgentTeamMemberView",
    "AgentTeamView",
    "AgentWorkflow",
    "AgentWorkflowExecution",
    "AgentWorkflowExecutionView",
    "AgentWorkflowView",
    "Department",
    "MemoryCategory",
    "MemoryTier",
    "RiskLevel",
    "TeamRole",
    "TeamStatus",
    "WorkflowExecutionStatus",
    "WorkflowStatus",
    "WorkflowTrigger",
]
