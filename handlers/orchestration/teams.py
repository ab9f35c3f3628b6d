"""Teams of agents and their members."""

from handlers.guards import reads, writes
from handlers.resource import crud
from models.orchestration import AgentTeam, AgentTeamMember, AgentTeamMemberView, AgentTeamView

teams = crud(
    "/agent-teams",
    AgentTeam,
    AgentTeamView,
    search=("name", "description"),
    filters=("department", "status", "coordinator_agent_id"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)
members = crud(
    "/agent-team-members",
    AgentTeamMember,
    AgentTeamMemberView,
    filters=("team_id", "agent_id", "role"),
    who_reads=reads("agents"),
    who_writes=writes("agents"),
)

routes = [teams.router(), members.router()]
