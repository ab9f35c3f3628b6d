"""Rules: what follows from what, what a lead is worth, and whose it becomes."""

from handlers.resource import crud
from models.marketing import (
    AutomationRule,
    AutomationRuleView,
    LeadRoutingRule,
    LeadRoutingRuleView,
    LeadScoringRule,
    LeadScoringRuleView,
)

automation = crud(
    "/automation-rules",
    AutomationRule,
    AutomationRuleView,
    search=("name", "description"),
    filters=("status", "trigger_type", "action_type"),
)
scoring = crud(
    "/lead-scoring-rules",
    LeadScoringRule,
    LeadScoringRuleView,
    search=("name",),
    filters=("type", "is_active", "field"),
)
routing = crud(
    "/lead-routing-rules",
    LeadRoutingRule,
    LeadRoutingRuleView,
    search=("name",),
    filters=("is_active", "assign_to", "round_robin"),
)

routes = [automation.router(), scoring.router(), routing.router()]
