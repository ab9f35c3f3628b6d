"""Agents together: teams, messages, workflows, what they remember, and what they ask before they act."""

from models.orchestration.actions import (
    ActionStatus,
    ActionTrigger,
    AgentActionAuditLog,
    AgentActionAuditLogView,
    AgentPendingAction,
    AgentPendingActionView,
    Performer,
    RiskLevel,
)
from models.orchestration.memory import AgentSharedMemory, AgentSharedMemoryView, MemoryCategory, MemoryTier
from models.orchestration.messages import AgentMessage, AgentMessageStatus, AgentMessageType, AgentMessageView
from models.orchestration.policies import AgentPolicy, AgentPolicyView, Reach
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
    "AgentPolicy",
    "AgentPolicyView",
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
    "Performer",
    "Reach",
    "RiskLevel",
    "TeamRole",
    "TeamStatus",
    "WorkflowExecutionStatus",
    "WorkflowStatus",
    "WorkflowTrigger",
]
