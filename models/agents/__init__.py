"""Agents: what they are made of, when they run, and what they did."""

from models.agents.agents import Agent, AgentStatus, AgentType, AgentView
from models.agents.catalogue import AgentPack, AgentPackView, AgentTemplate, AgentTemplateView, PricingType
from models.agents.runs import AgentExecution, AgentExecutionView, AgentLog, AgentLogView, ExecutionStatus
from models.agents.schedules import AgentSchedule, AgentScheduleView, MissedRuns, ScheduleTrigger

__all__ = [
    "Agent",
    "AgentExecution",
    "AgentExecutionView",
    "AgentLog",
    "AgentLogView",
    "AgentPack",
    "AgentPackView",
    "AgentSchedule",
    "AgentScheduleView",
    "AgentStatus",
    "AgentTemplate",
    "AgentTemplateView",
    "AgentType",
    "AgentView",
    "ExecutionStatus",
    "MissedRuns",
    "PricingType",
    "ScheduleTrigger",
]
