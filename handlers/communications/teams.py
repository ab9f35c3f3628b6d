"""Teams of members, and who is in them."""

from handlers.guards import administrator
from handlers.resource import crud
from models.communications import Team, TeamMember, TeamMemberView, TeamView

teams = crud(
    "/teams",
    Team,
    TeamView,
    search=("name", "description"),
    filters=("is_active",),
    who_writes=administrator,
)
members = crud(
    "/team-members",
    TeamMember,
    TeamMemberView,
    filters=("team_id", "user_id"),
    verbs=("list", "get", "create", "delete"),
    who_writes=administrator,
)

routes = [teams.router(), members.router()]
